package cache

import (
	"errors"
	"io"
	"slices"
	"sync"
)

// Errors of a [Filling] and its readers.
var (
	// ErrOverflow means that a body turned out too large to be kept, or that there is
	// no memory for it. What was gathered of it can be read.
	ErrOverflow = errors.New("body is too large to be kept")

	// ErrOverlong means that more came than was announced.
	ErrOverlong = errors.New("body is longer than announced")

	// ErrEnded means that something was written behind the end.
	ErrEnded = errors.New("body has ended")

	// ErrGone means that a reader has left.
	ErrGone = errors.New("reader is gone")
)

const (
	firstPiece = 4 << 10  // of memory for a body
	believed   = 64 << 10 // announced lengths up to this one are taken at their word
)

// Filling is the body of an object that is on its way. One writer fills it; any number
// of readers read it as it grows, each at its own pace.
type Filling[R, P, V any] struct {
	gathering
	flight *Flight[R, P, V]
	object *Object[R, P, V]

	reserved int // bytes of the flights' memory
	closed   bool
}

// gathering is the body of a filling, for its readers.
type gathering struct {
	length int // -1 if it is not known
	ended  chan struct{}
	err    error // once ended; nil if the body is complete

	mu    sync.Mutex
	body  []byte        // grows; what is in it does not change
	grown chan struct{} // closed at the next growth; nil if nobody waits for it
}

func newFilling[R, P, V any](f *Flight[R, P, V], o *Object[R, P, V], length int) *Filling[R, P, V] {
	return &Filling[R, P, V]{
		gathering: gathering{length: length, ended: make(chan struct{})},
		flight:    f, object: o, reserved: max(0, length),
	}
}

// Object returns the object that is being filled.
func (f *Filling[R, P, V]) Object() *Object[R, P, V] { return f.object }

// Write takes a copy of the next piece, or none of it. It fails with [ErrOverflow] when the
// body becomes too large: it is not kept then, and who reads it has to get the rest, this piece
// included, elsewhere.
func (f *Filling[R, P, V]) Write(p []byte) (int, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return 0, ErrEnded
	}
	err := f.grow(len(p))
	if err == nil {
		f.body = append(f.body, p...)
		if f.grown != nil {
			close(f.grown)
			f.grown = nil
		}
	}
	f.mu.Unlock()
	if err != nil {
		f.end(err)
		return 0, err
	}
	return len(p), nil
}

// grow makes room for n bytes more. Readers may go on with the older, shorter array.
func (f *Filling[R, P, V]) grow(n int) error {
	s := f.flight.flights
	need := len(f.body) + n
	switch {
	case f.length >= 0 && need > f.length:
		return ErrOverlong
	case int64(need) > s.objects.maxObject:
		s.share(f.flight.key, false)
		return ErrOverflow
	case need <= cap(f.body):
		return nil
	}
	room := max(need, 2*cap(f.body), firstPiece)
	if f.length >= 0 {
		room = min(max(room, believed), f.length)
	} else {
		room = int(min(int64(room), s.objects.maxObject))
		if !s.reserve(room - f.reserved) {
			return ErrOverflow
		}
		f.reserved = room
	}
	body := make([]byte, len(f.body), room)
	copy(body, f.body)
	f.body = body
	return nil
}

// Finish ends a body that is complete, stores the object, and reports whether the body was
// sound and is stored. One that is shorter than announced is broken.
func (f *Filling[R, P, V]) Finish() (stored bool) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return false
	}
	if f.length >= 0 && len(f.body) < f.length {
		f.mu.Unlock()
		f.end(io.ErrUnexpectedEOF)
		return false
	}
	f.closed = true
	if cap(f.body)-len(f.body) > len(f.body)/16 {
		f.body = slices.Clip(slices.Clone(f.body))
	}
	f.object.Body = f.body
	f.mu.Unlock()
	// Stored first: who no longer finds the flight must find the object.
	defer f.settle(nil)
	if stored = f.flight.flights.objects.Put(f.object); stored {
		f.flight.flights.kept.Add(1)
		f.flight.flights.share(f.flight.key, true)
	}
	return stored
}

// Fail ends a body that broke off. It is not stored, and its readers get the error
// behind what came of it. After the end it does nothing, so that it can be deferred.
func (f *Filling[R, P, V]) Fail(err error) {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	f.end(err)
}

func (f *Filling[R, P, V]) end(err error) {
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if !closed {
		f.settle(err)
	}
}

// settle tells everybody that the body has ended.
func (f *Filling[R, P, V]) settle(err error) {
	s := f.flight.flights
	s.mu.Lock()
	s.remove(f.flight)
	s.mu.Unlock()
	s.gathered.Add(-int64(f.reserved))
	f.err = err
	close(f.ended)
}

// Reader returns a reader of the body from its begin. A read ends with [ErrGone] when
// gone is closed (nil for never).
func (f *Filling[R, P, V]) Reader(gone <-chan struct{}) *Reader {
	return &Reader{from: &f.gathering, gone: gone}
}

// Reader reads a body while it is gathered. It is for one goroutine.
type Reader struct {
	from *gathering
	at   int
	gone <-chan struct{}
}

// Length returns the announced length of the body, -1 for none.
func (r *Reader) Length() int { return r.from.length }

// Read waits for the next bytes. Behind a complete body it returns io.EOF, and behind one
// that broke off the error that it ended with.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		body, grown := r.from.behind(r.at)
		if len(body) > 0 {
			n := copy(p, body)
			r.at += n
			return n, nil
		}
		select {
		case <-grown:
		case <-r.gone:
			return 0, ErrGone
		case <-r.from.ended:
			if body, _ := r.from.behind(r.at); len(body) > 0 {
				continue
			}
			if r.from.err != nil {
				return 0, r.from.err
			}
			return 0, io.EOF
		}
	}
}

func (g *gathering) hasEnded() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// behind returns what there is of the body from an offset on, or else what tells that
// more has come.
func (g *gathering) behind(at int) ([]byte, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at < len(g.body) {
		return g.body[at:], nil
	}
	if g.grown == nil {
		g.grown = make(chan struct{})
	}
	return nil, g.grown
}
