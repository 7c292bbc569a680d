package host

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	firstPause  = 50 * time.Millisecond // before the first restart
	lastPause   = 30 * time.Second      // between restarts of a process that keeps dying
	stableAfter = 10 * time.Second      // a run this long clears the record
	sickOpens   = 3                     // times the breaker opens in a row until a process is replaced
)

// process keeps one plugin process running.
type process struct {
	launcher launcher
	logger   *slog.Logger
	now      func() time.Time
	restored func() // told when a new process serves

	suspects chan int      // the breaker opened so many times in a row for want of answers
	retry    chan struct{} // restart now, whatever the pause
	stopping chan struct{}
	stopOnce sync.Once
	done     chan struct{}

	mu       sync.Mutex
	session  *session      // nil while none runs
	changed  chan struct{} // closed and replaced when session changes
	restarts int
	last     string // how the last one ended, or why it did not start
}

// startProcess starts the process for the first time; from then on it is kept running.
func startProcess(ctx context.Context, l launcher, restored func()) (*process, error) {
	s, err := l.start(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{
		launcher: l, logger: l.logger, now: l.now, restored: restored,
		suspects: make(chan int, 1), retry: make(chan struct{}, 1),
		stopping: make(chan struct{}), done: make(chan struct{}),
		session: s, changed: make(chan struct{}),
	}
	p.logger.Info("plugin started", "pid", s.prog.number(), "version", s.plugin.Describe().Version, "took", p.now().Sub(s.started).String())
	go p.supervise(s)
	return p, nil
}

// current returns the running session, nil while there is none.
func (p *process) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// await returns the running session, and waits for one.
func (p *process) await(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		s, changed, last := p.session, p.changed, p.last
		p.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-p.done:
			return nil, errClosed
		case <-ctx.Done():
			return nil, errors.Join(errDown, errors.New(last))
		}
	}
}

func (p *process) set(s *session, last string) {
	p.mu.Lock()
	p.session = s
	if last != "" {
		p.last = last
	}
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
}

// supervise lives as long as the plugin is wanted.
func (p *process) supervise(s *session) {
	defer close(p.done)
	var pause backoff
	for {
		again := p.attend(s)
		if !again {
			return
		}
		ran := p.now().Sub(s.started)
		if s = p.restart(&pause, ran); s == nil {
			return
		}
		p.set(s, "")
		p.restored()
	}
}

// attend waits for the end of one session and clears it away. It reports whether
// the plugin is still wanted.
func (p *process) attend(s *session) (again bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		s.watch(ctx)
	}()
	for {
		select {
		case <-p.stopping:
			p.set(nil, "stopped")
			s.stop(stopGrace)
			return false
		case <-s.prog.exited:
			p.set(nil, s.prog.death())
			p.logger.Error("plugin process ended", "pid", s.prog.number(), "state", s.prog.death())
		case opens := <-p.suspects:
			if opens < sickOpens && s.healthy(ctx) {
				continue
			}
			p.set(nil, "did not answer")
			p.logger.Error("plugin process does not answer and is replaced", "pid", s.prog.number())
			s.prog.kill()
		case <-broken:
			if s.healthy(ctx) {
				broken = nil
				continue
			}
			p.set(nil, "broke its connection")
			p.logger.Error("plugin process broke its connection and is replaced", "pid", s.prog.number())
			s.prog.kill()
		}
		s.stop(0)
		return true
	}
}

// restart tries until a process runs, with growing pauses. It returns nil when the
// plugin is not wanted any more.
func (p *process) restart(pause *backoff, ran time.Duration) *session {
	for {
		wait := pause.next(ran)
		select {
		case <-p.stopping:
			return nil
		case <-p.retry:
		case <-time.After(wait):
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			select {
			case <-p.stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		s, err := p.launcher.start(ctx)
		cancel()
		p.mu.Lock()
		p.restarts++
		count := p.restarts
		p.mu.Unlock()
		if err == nil {
			p.logger.Info("plugin restarted", "pid", s.prog.number(), "restarts", count)
			return s
		}
		ran = 0
		p.set(nil, err.Error())
		p.logger.Error("plugin cannot be restarted", "error", err, "retry_in", pause.peek().String())
	}
}

// suspect is told when the breaker opened for want of answers.
func (p *process) suspect(opens int) {
	select {
	case p.suspects <- opens:
	default:
	}
}

// kick ends a pause between restarts: a reload may have mended what was wrong.
func (p *process) kick() {
	if p.current() != nil {
		return
	}
	select {
	case p.retry <- struct{}{}:
	default:
	}
}

// stop ends the process for good, and returns when it is gone or ctx ends. Then it
// is killed.
func (p *process) stop(ctx context.Context) {
	s := p.current()
	p.stopOnce.Do(func() { close(p.stopping) })
	select {
	case <-p.done:
		return
	case <-ctx.Done():
	}
	if s != nil {
		s.prog.kill()
	}
}

// backoff grows the pause between restarts.
type backoff struct{ tries int }

// next returns the pause before the next try; ran is how long the last one lived.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= stableAfter {
		b.tries = 0
	}
	wait := b.peek()
	b.tries++
	return wait
}

func (b *backoff) peek() time.Duration { return min(firstPause<<min(b.tries, 20), lastPause) }
