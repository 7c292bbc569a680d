package upstream

import (
	"errors"
	"slices"

	"github.com/valyala/fasthttp"
)

// mostMoves is how many other servers a request goes to when it finds no
// connection.
const mostMoves = 2

// tries is one request on its way to a server that answers it.
type tries struct {
	up      *Upstream
	req     *fasthttp.Request
	scratch *scratch
	opts    *Options
	visitor uint64 // hash

	as    string  // the host that the headers name the site by; "" is the client's
	to    *member // nil: the next one is still to be chosen
	tried set     // servers that it did not work with
	moves int
	fresh bool // not over a connection that was used before
	sends bool // a body as it comes
	moved bool // after it was sent
	asked bool // the request is counted: nothing was sent over a connection that was stale
}

func (u *Upstream) newTries(req *fasthttp.Request, s *scratch, opts *Options) tries {
	return tries{up: u, req: req, scratch: s, opts: opts, visitor: u.visitorHash(opts.Visitor, opts.Client)}
}

// connect chooses a server and takes a connection to it. Where none can be made,
// nothing was sent, so another server may be asked.
func (t *tries) connect() (link, error) {
	for {
		if t.to == nil {
			t.choose()
		}
		if !t.asked {
			t.to.requests.Add(1)
		}
		t.asked = false
		l, err := t.acquire()
		if err == nil {
			return l, nil
		}
		kind := kindOf(err)
		t.up.failed(t.to, kind)
		if kind == Busy || errors.Is(err, errClosed) || t.moves == mostMoves || !t.leave() {
			return link{}, err
		}
		t.moves++
	}
}

// link is a connection to a server: of its own over HTTP/1.1, shared over HTTP/2.
type link struct {
	own    *conn
	shared *streamConn
	lease  lease // of what is shared
}

func (t *tries) acquire() (l link, err error) {
	p := t.to.pool
	name := p.clientName(t.req.Header.Host())
	if p.streams != nil {
		l.shared, l.lease, err = p.streams.acquire(t.sends, name)
	} else {
		l.own, err = p.acquire(t.fresh, t.sends, name)
	}
	return l, err
}

// choose picks a server and writes the request's head for it.
func (t *tries) choose() {
	s := t.scratch
	t.to = t.up.members[t.up.pick(t.tried, t.visitor)]
	if t.to.host != "" && t.to.host != t.as {
		t.introduce()
	}
	s.request = append(t.req.Header.AppendBytes(s.request[:0]), s.small...)
}

// leave gives the present server up. It reports false if there is no other or the
// budget allows no retry.
func (t *tries) leave() bool {
	tried := t.tried | 1<<t.to.index
	if tried.len() == len(t.up.members) || !t.up.mayRetry() {
		return false
	}
	t.tried, t.to = tried, nil
	return true
}

// again prepares for sending a request once more whose connection closed without a
// byte of an answer. If that was used before, it tells nothing against its server,
// which may just have closed what was idle: it gets another chance. Else it is
// another's turn, once.
func (t *tries) again(reused bool) bool {
	to := t.to
	switch {
	case reused:
		if !t.up.mayRetry() {
			return false
		}
	case t.moved || !t.leave():
		return false
	default:
		t.moved = true
		t.up.failed(to, Closed)
	}
	t.fresh = true
	return true
}

// note tells the server's health what became of the request.
func (t *tries) note(status int, err error) {
	switch {
	case err != nil:
		t.up.failed(t.to, kindOf(err))
	case slices.Contains(t.up.cfg.Ejection.Statuses, status):
		t.up.blamed(t.to)
	default:
		t.to.succeeded(t.up)
	}
}

// named adds the server to an error.
func (t *tries) named(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind != Client {
		e.Server = t.to.origin.address
	}
	return err
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Closed
}
