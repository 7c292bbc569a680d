package proxy

import (
	"io"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// source is where the body of an answer comes from: the origin, or what is kept of it.
type source interface {
	io.Reader

	// ReadBefore is Read, but returns [upstream.ErrLate] if nothing comes until then.
	ReadBefore(p []byte, until time.Time) (int, error)

	// Next returns what has come, waiting for at least one byte, with the error behind it
	// if that is known. It is valid until the next call of any method, and must not be
	// changed.
	Next() ([]byte, error)

	// Whole returns the body if all of it is there, in a buffer that is valid until Close and
	// must not be changed; else nil.
	Whole() []byte

	// Framed reports whether the body says itself where it ends.
	Framed() bool

	// Trailers returns what followed the body, once Read has returned io.EOF.
	Trailers() []upstream.Trailer

	Close() error
}

// takeSource returns the answer's body, which the caller must close; nil if it has none.
func (x *exchange) takeSource() source {
	if s := x.from; s != nil {
		x.from = nil
		return s
	}
	if origin, ok := x.ctx.Response.BodyStream().(*upstream.Body); ok {
		return origin.Take()
	}
	return nil
}

// dropSource ends an answer that is not wanted after all.
func (x *exchange) dropSource() {
	if s := x.takeSource(); s != nil {
		_ = s.Close()
	}
	_ = x.ctx.Response.CloseBodyStream()
}

// pieces makes Next of Read.
type pieces struct{ buffer *[]byte }

func (p *pieces) next(r io.Reader) ([]byte, error) {
	if p.buffer == nil {
		p.buffer = copyBuffers.Get().(*[]byte)
	}
	n, err := r.Read(*p.buffer)
	return (*p.buffer)[:n], err
}

func (p *pieces) release() {
	if p.buffer != nil {
		copyBuffers.Put(p.buffer)
		p.buffer = nil
	}
}

// keptSource is a body in memory, which nobody may change.
type keptSource struct{ rest []byte }

func (s *keptSource) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *keptSource) Next() ([]byte, error) {
	rest := s.rest
	s.rest = nil
	return rest, io.EOF
}

func (s *keptSource) Whole() []byte {
	if len(s.rest) == 0 {
		return nil
	}
	return s.rest
}

func (s *keptSource) ReadBefore(p []byte, _ time.Time) (int, error) { return s.Read(p) }
func (s *keptSource) Framed() bool                                  { return true }
func (s *keptSource) Trailers() []upstream.Trailer                  { return nil }
func (s *keptSource) Close() error                                  { return nil }

// begunSource is a body of which a part was read ahead.
type begunSource struct {
	source
	ahead arrivedReader
	pieces
}

func (s *begunSource) Next() ([]byte, error) { return s.next(s) }

func (s *begunSource) Close() error {
	s.release()
	return s.source.Close()
}

func (s *begunSource) Read(p []byte) (int, error) { return s.ahead.Read(p) }

func (s *begunSource) Whole() []byte { return nil }

func (s *begunSource) ReadBefore(p []byte, until time.Time) (int, error) {
	if len(s.ahead.rest) > 0 || s.ahead.err != nil {
		return s.ahead.Read(p)
	}
	return s.source.ReadBefore(p, until)
}

// fillTime is for how long an answer whose client has left is read on for the cache.
const fillTime = 10 * time.Second

// fillingSource is a body that is on its way into the cache. A goroutine of its own reads
// it from the origin, so that a slow client keeps neither the cache nor those waiting who
// asked for the same. If it turns out too large to be kept, or damaged, the client gets the
// rest from the origin as if there were no cache.
type fillingSource struct {
	pieces
	reader *cache.Reader
	origin source
	ended  chan struct{} // the goroutine has ended

	// Of the client, once the goroutine has ended.
	rest     []byte // what it has read and could not keep
	err      error  // what it came to behind that; nil if the client goes on reading
	trailers []upstream.Trailer
	direct   bool

	mu     sync.Mutex
	left   time.Time // when the client did; zero before
	handed bool      // the origin's body is the client's to close
}

func (s *fillingSource) Read(p []byte) (int, error) {
	if !s.direct {
		n, err := s.reader.Read(p)
		if err != cache.ErrOverflow {
			return n, err
		}
		<-s.ended
		s.direct = true
	}
	if len(s.rest) > 0 {
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.origin.Read(p)
	if err == io.EOF {
		s.trailers = s.origin.Trailers()
	}
	return n, err
}

// ReadBefore has nothing at once: whoever wants a body whole has looked for that before.
func (s *fillingSource) ReadBefore([]byte, time.Time) (int, error) { return 0, upstream.ErrLate }

func (s *fillingSource) Next() ([]byte, error) { return s.next(s) }

func (s *fillingSource) Whole() []byte { return nil }

func (s *fillingSource) Framed() bool { return true }

func (s *fillingSource) Trailers() []upstream.Trailer {
	if !s.direct {
		<-s.ended
	}
	return s.trailers
}

// Close tells that the client has what it wanted, or has left.
func (s *fillingSource) Close() error {
	s.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left.IsZero() {
		s.left = time.Now()
	}
	if s.handed {
		s.handed = false
		return s.origin.Close()
	}
	return nil
}

// fill reads the answer into the cache, and reports whether it was kept.
func (s *fillingSource) fill(server *Server, to *filling) {
	defer close(s.ended)
	s.err = errPanic
	defer func() {
		if r := recover(); r != nil {
			server.notePanic("keeping an answer", r)
		}
		to.Fail(errPanic) // unless it has ended
		if s.err != nil {
			_ = s.origin.Close()
		}
	}()
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := s.origin.Read(*buffer)
		if n > 0 {
			if _, werr := to.Write((*buffer)[:n]); werr != nil {
				s.err = s.hand((*buffer)[:n], werr)
				return
			}
		}
		switch {
		case err == io.EOF:
			s.trailers, s.err = s.origin.Trailers(), err
			if to.Finish() {
				server.stats.CacheStores.Add(1)
			}
			return
		case err != nil:
			s.err = err
			to.Fail(err)
			return
		case s.abandoned():
			to.Fail(cache.ErrGone)
			return
		}
	}
}

// hand gives the client the rest of a body that is too large or turned out damaged, if it
// is still there; else it returns an error.
func (s *fillingSource) hand(rest []byte, err error) error {
	if err != cache.ErrOverflow && err != cache.ErrEnded {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.left.IsZero() {
		return cache.ErrGone
	}
	s.rest, s.handed = append([]byte(nil), rest...), true
	return nil
}

func (s *fillingSource) abandoned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.left.IsZero() && time.Since(s.left) > fillTime
}

// followSource is a body that another request brings.
type followSource struct {
	keptSource
	pieces
	reader *cache.Reader
}

func (s *followSource) Next() ([]byte, error) { return s.next(s) }

func (s *followSource) Close() error {
	s.release()
	return nil
}

func (s *followSource) Read(p []byte) (int, error)                { return s.reader.Read(p) }
func (s *followSource) Whole() []byte                             { return nil }
func (s *followSource) ReadBefore([]byte, time.Time) (int, error) { return 0, upstream.ErrLate }

// detachable is a client who is no longer asked once an answer goes on without them.
type detachable struct {
	stop func() bool // of what ends with the client; nil for nothing

	mu   sync.Mutex
	down downstream // nil: it is not asked
}

func (d *detachable) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down != nil && d.down.gone()
}

func (d *detachable) detach() {
	if d.stop != nil {
		d.stop()
	}
	d.mu.Lock()
	d.down = nil
	d.mu.Unlock()
}
