package upstream

// Stats tells how many connections there are.
type Stats struct {
	// Active connections belong to an exchange or a tunnel, also while dialing.
	Active int
	// Idle connections wait to be used again.
	Idle int
}

// Status is an upstream at one moment. Counts only grow, also over reloads as long
// as the settings of the connections stay.
type Status struct {
	// BreakerOpen: the upstream fails, and requests are refused.
	BreakerOpen bool
	// Opened counts how often the breaker opened, and Refused the requests that it
	// refused.
	Opened, Refused uint64
	// Retries counts requests that were tried once more, and OverBudget those that
	// were not for lack of budget.
	Retries, OverBudget uint64
	// Servers are in the order of the settings.
	Servers []ServerStatus
}

// ServerStatus is one server at one moment.
type ServerStatus struct {
	// Address is host and port, by the settings.
	Address string
	// State tells whether it gets requests.
	State State
	Stats
	// Requests counts the attempts, retries among them.
	Requests uint64
	// Errors counts the attempts and bodies that came to nothing, by kind.
	Errors map[Kind]uint64
	// Ejections counts how often the server was ejected.
	Ejections uint64
	// FailedChecks counts the checks that were not answered as they should.
	FailedChecks uint64
}

// State is whether a server gets requests.
type State string

// The states of a server.
const (
	// Up: it gets its share.
	Up State = "up"
	// SlowStart: it was down and gets less than its share.
	SlowStart State = "slow_start"
	// Ejected: its requests failed, and it gets none for a while.
	Ejected State = "ejected"
	// Down: its checks fail.
	Down State = "down"
)

// Stats returns the present numbers of connections.
func (u *Upstream) Stats() (total Stats) {
	for _, m := range u.members {
		s := m.pool.stats()
		total.Active += s.Active
		total.Idle += s.Idle
	}
	return total
}

// Status tells how the upstream is.
func (u *Upstream) Status() Status {
	s := u.shared
	s.mu.Lock()
	open := s.breaker.open && !u.cfg.Breaker.Disabled
	s.mu.Unlock()
	status := Status{
		BreakerOpen: open, Opened: s.opened.Load(), Refused: s.refused.Load(),
		Retries: s.retries.Load(), OverBudget: s.overBudget.Load(),
	}
	for _, m := range u.members {
		status.Servers = append(status.Servers, u.serverStatus(m))
	}
	return status
}

func (u *Upstream) serverStatus(m *member) ServerStatus {
	now, state := u.now(), Up
	switch {
	case m.isDown():
		state = Down
	case m.ejected(now):
		state = Ejected
	case m.warmth(now, u.cfg.SlowStart) < 1:
		state = SlowStart
	}
	s := ServerStatus{
		Address: m.origin.address, State: state, Stats: m.pool.stats(), Requests: m.requests.Load(),
		Errors: map[Kind]uint64{}, Ejections: m.ejections.Load(), FailedChecks: m.failedChecks.Load(),
	}
	for kind := Dial; int(kind) < numKinds; kind++ {
		s.Errors[kind] = m.errors[kind].Load()
	}
	return s
}

// Available reports whether some server is up and asked.
func (s *Status) Available() bool {
	for i := range s.Servers {
		if s.Servers[i].Available() {
			return !s.BreakerOpen
		}
	}
	return false
}

// Available reports whether the server gets requests while it is not alone.
func (s *ServerStatus) Available() bool { return s.State == Up || s.State == SlowStart }
