package host

import (
	"runtime"
	"sync"
)

// thread starts processes from one operating system thread that lives as long as
// the host: the kernel kills a process on the death of the thread, not of the
// program, that started it.
type thread struct {
	once sync.Once
	work chan func()
	end  chan struct{}
}

func newThread() *thread {
	return &thread{work: make(chan func()), end: make(chan struct{})}
}

// do runs fn on the thread and reports whether it ran: it does not after close.
func (t *thread) do(fn func()) bool {
	t.once.Do(func() { go t.run() })
	done := make(chan struct{})
	select {
	case t.work <- func() { defer close(done); fn() }:
		<-done
		return true
	case <-t.end:
		return false
	}
}

func (t *thread) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case fn := <-t.work:
			fn()
		case <-t.end:
			return
		}
	}
}

// close ends the thread's work; it is called once.
func (t *thread) close() { close(t.end) }
