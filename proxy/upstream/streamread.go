package upstream

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// expect begins to wait for what comes next.
func (x *stream) expect() {
	x.since.Store(time.Now().UnixNano())
	x.timer.Reset(x.pause(x.limit))
}

// pause is the time until the next look.
func (x *stream) pause(left time.Duration) time.Duration {
	if x.gone != nil {
		return min(left, goneTime)
	}
	return left
}

// touch notes that something came or went. A call goes on waiting; else the wait is
// over.
func (x *stream) touch() {
	if x.call {
		x.since.Store(time.Now().UnixNano())
	} else {
		x.since.Store(0)
		x.timer.Stop()
	}
}

// look ends the exchange if nothing came for too long, or nobody waits for it.
func (x *stream) look() {
	since := x.since.Load()
	if since == 0 {
		return
	}
	left := x.limit - time.Since(time.Unix(0, since))
	switch {
	case x.gone != nil && x.gone():
		x.cancel(errLeft())
	case left <= 0:
		x.giveUp("read answer body")
	default:
		x.timer.Reset(x.pause(left))
	}
}

// read reads what has come of the answer's body.
func (x *stream) read(p []byte) (int, error) {
	if !x.call {
		x.expect()
	}
	if x.ahead != nil {
		<-x.ahead.done
		return x.takeAhead(p)
	}
	return x.got(x.answer.Body.Read(p))
}

// got notes what a read came to.
func (x *stream) got(n int, err error) (int, error) {
	x.touch()
	switch {
	case err == io.EOF:
		x.keepTrailers()
	case err != nil:
		err = x.explain("read answer body", err)
	}
	return n, err
}

func (x *stream) keepTrailers() {
	for _, name := range slices.Sorted(maps.Keys(x.answer.Trailer)) {
		for _, value := range x.answer.Trailer[name] {
			if validName([]byte(name)) && validValue([]byte(value)) {
				x.trailers = append(x.trailers, Trailer{Name: name, Value: value})
			}
		}
	}
}

// aheadRead is a read that goes on while nobody waits for it.
type aheadRead struct {
	done chan struct{} // closed when it ended
	left []byte        // valid then
	err  error
}

// readWithin reads, waiting only so long; what comes later is kept for the next read.
func (x *stream) readWithin(p []byte, wait time.Duration) (int, error) {
	if x.ahead == nil {
		x.readAhead(len(p))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-x.ahead.done:
		return x.takeAhead(p)
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	}
}

func (x *stream) readAhead(size int) {
	a := &aheadRead{done: make(chan struct{})}
	x.ahead = a
	go func() {
		defer close(a.done)
		defer func() {
			if r := recover(); r != nil {
				a.err = fmt.Errorf("panic: %v", r)
			}
		}()
		buf := make([]byte, size)
		n, err := x.answer.Body.Read(buf)
		a.left, a.err = buf[:n], err
	}()
}

// takeAhead returns what a read that has ended has read.
func (x *stream) takeAhead(p []byte) (int, error) {
	n := copy(p, x.ahead.left)
	if x.ahead.left = x.ahead.left[n:]; len(x.ahead.left) > 0 {
		return n, nil
	}
	err := x.ahead.err
	x.ahead = nil
	return x.got(n, err)
}
