package host

import (
	"sort"
	"time"

	"github.com/sedge-proxy/sedge/plugins"
)

// State says how a plugin is.
type State string

// The states of a plugin.
const (
	Running    State = "running"
	Restarting State = "restarting" // its process died; another is being started
	Paused     State = "paused"     // the breaker is open
)

// Status is how one plugin is doing.
type Status struct {
	Name        string
	Description plugins.Description // of the running process; zero while none runs
	State       State
	InProcess   bool
	PID         int       // 0: none
	Since       time.Time // start of the running process
	Restarts    int
	LastDeath   string // how the last process ended, or why it did not start; "" if it never did

	Calls    uint64 // that reached the plugin
	Failures uint64 // of them, timeouts included
	Timeouts uint64
	Refused  uint64 // did not reach it: too many at a time, or breaker open
}

// Status returns how the plugins of the last configuration are doing, by name.
func (h *Host) Status() []Status {
	h.mu.Lock()
	list := make([]Status, 0, len(h.members))
	for _, m := range h.members {
		list = append(list, m.status())
	}
	h.mu.Unlock()
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

func (m *member) status() Status {
	s := Status{
		Name: m.cfg.Name, InProcess: m.cfg.InProcess, State: Running,
		Calls: m.gate.calls.Load(), Failures: m.gate.failures.Load(),
		Timeouts: m.gate.timeouts.Load(), Refused: m.gate.refused.Load(),
	}
	if p, ok := m.source.(*process); ok {
		p.mu.Lock()
		s.Restarts, s.LastDeath = p.restarts, p.last
		p.mu.Unlock()
	}
	current := m.source.current()
	if current == nil {
		s.State = Restarting
		return s
	}
	s.Since, s.Description = current.started, current.plugin.Describe()
	if current.prog != nil {
		s.PID = current.prog.number()
	}
	if m.gate.isOpen() {
		s.State = Paused
	}
	return s
}
