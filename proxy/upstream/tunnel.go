package upstream

import (
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// hijackTime is how long an agreed tunnel waits for fasthttp to hand over the
// client's connection, which it does not do if that broke meanwhile.
const hijackTime = 10 * time.Second

// Tunnel asks the origin to switch to the protocol that the client's Upgrade
// header names. req is the client's request as Prepare has made it. Over HTTP/2
// there are no tunnels.
//
// If the origin agrees, ctx is hijacked: when the handler has returned, the 101
// and then the bytes of both sides are carried until one side ends or both are
// silent for StreamTimeout; onDone is called after that. Nothing that the client
// sent behind its request reaches the origin before the 101.
//
// If the origin answers otherwise, that answer is in ctx.Response as after Do, ctx
// is not hijacked, and onDone is not called; nor is it on error.
func (u *Upstream) Tunnel(ctx *fasthttp.RequestCtx, req *fasthttp.Request, opts Options, onDone func()) error {
	s := u.acquireScratch()
	defer u.releaseScratch(s)
	protocol := peekFold(&ctx.Request.Header, fasthttp.HeaderUpgrade)
	if !IsUpgrade(&ctx.Request) || u.HTTP2() {
		return &Error{Op: "open tunnel", Kind: Client, Err: errMalformed("the request asks for no upgrade, or the upstream carries none")}
	}
	req.Header.Set(fasthttp.HeaderConnection, "Upgrade")
	req.Header.SetBytesV(fasthttp.HeaderUpgrade, protocol)
	if _, err := s.readBody(req, nil, false); err != nil {
		return err
	}
	probe, err := u.admit()
	if err != nil {
		return err
	}
	s.opts = opts
	err = u.openTunnel(ctx, req, s, &s.opts, onDone)
	u.conclude(probe, err)
	return err
}

func (u *Upstream) openTunnel(ctx *fasthttp.RequestCtx, req *fasthttp.Request, s *scratch, opts *Options, onDone func()) error {
	t := u.newTries(req, s, opts)
	t.fresh = true
	l, err := t.connect()
	if err != nil {
		return err
	}
	c := l.own
	x := exchange{up: u, server: t.to.server}
	_, err = c.Write(s.request)
	if err = x.awaitSwitch(ctx, c, s, err, onDone); err != nil {
		c.release(false)
	}
	t.note(ctx.Response.StatusCode(), err)
	return t.named(err)
}

// IsUpgrade reports whether the client's request asks for a protocol that Tunnel
// carries. HTTP over such a tunnel (h2c) would slip past everything Sedge does, so
// like an upgrade with a body it is no upgrade here: Do sends the request without
// the offer, which every server must accept.
func IsUpgrade(in *fasthttp.Request) bool {
	asked := false
	for key, value := range in.Header.All() {
		if equalFold(key, fasthttp.HeaderConnection) {
			for token := range tokens(value) {
				asked = asked || equalFold(token, fasthttp.HeaderUpgrade)
			}
		}
	}
	return asked && in.Header.IsHTTP11() && in.Header.ContentLength() != -1 &&
		in.Header.ContentLength() <= 0 && tunnelled(peekFold(&in.Header, fasthttp.HeaderUpgrade))
}

// tunnelled reports whether an Upgrade header names protocols other than HTTP and
// TLS.
func tunnelled(protocols []byte) bool {
	some := false
	for token := range tokens(protocols) {
		if hasPrefixFold(token, "h2c") || hasPrefixFold(token, "HTTP") || hasPrefixFold(token, "TLS") {
			return false
		}
		some = true
	}
	return some
}

func peekFold(h *fasthttp.RequestHeader, name string) []byte {
	for key, value := range h.All() {
		if equalFold(key, name) {
			return value
		}
	}
	return nil
}

// awaitSwitch reads heads up to the 101 or another final answer.
func (x *exchange) awaitSwitch(ctx *fasthttp.RequestCtx, c *conn, s *scratch, sendErr error, onDone func()) error {
	c.ReadIdle, c.InMessage = 0, true
	for interim := 0; ; interim++ {
		if err := x.readHead(c, s, &Options{}, sendErr); err != nil {
			return err
		}
		switch {
		case s.head.status == fasthttp.StatusSwitchingProtocols:
			if len(s.head.upgrade) == 0 {
				return fail("read answer", errMalformed("the origin switches to no protocol"))
			}
			x.hijack(ctx, c, s, onDone)
			return nil
		case s.head.status >= 200:
			return x.accept(c, s, &ctx.Response, false)
		}
		if err := x.inform(s, interim, &Options{}); err != nil {
			return err
		}
	}
}

// tunnel carries bytes between a client and the origin.
type tunnel struct {
	up     *Upstream
	origin *conn
	head   []byte // of the 101, for the client
	onDone func()
	once   sync.Once
	active atomic.Int64 // when a byte last came from either side, Unix nanoseconds
	ended  atomic.Bool  // one direction has
}

// hijack lets fasthttp hand the client's connection to a tunnel.
func (x *exchange) hijack(ctx *fasthttp.RequestCtx, c *conn, s *scratch, onDone func()) {
	clean := s.head.appendClean(nil, false, x.up.now)
	clean = append(clean[:len(clean)-2], "Connection: Upgrade\r\nUpgrade: "...)
	clean = append(append(clean, s.head.upgrade...), "\r\n\r\n"...)
	c.lease.prolong()
	t := &tunnel{up: x.up, origin: c, head: clean, onDone: onDone}
	_ = c.disarm()
	c.InMessage = false
	abandon := time.AfterFunc(hijackTime, t.end)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(client net.Conn) {
		if !abandon.Stop() {
			return
		}
		t.carry(client)
	})
}

// end gives the origin's connection up, once.
func (t *tunnel) end() {
	t.once.Do(func() {
		t.origin.release(false)
		if t.onDone != nil {
			t.onDone()
		}
	})
}

// carry runs the tunnel to its end. What the client has sent so far is read from
// hijacked, whose Close does nothing; so it is the connection below that is closed.
func (t *tunnel) carry(hijacked net.Conn) {
	client := hijacked
	if over, ok := hijacked.(interface{ UnsafeConn() net.Conn }); ok {
		client = over.UnsafeConn()
	}
	defer func() { _ = recover() }() // after it both connections are closed all the same
	defer t.end()
	defer client.Close()
	t.touch()
	if err := client.SetWriteDeadline(time.Now().Add(t.up.cfg.IdleTimeout)); err != nil {
		return
	}
	if _, err := client.Write(t.head); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		// The bytes right behind the 101 are in the reader already.
		t.copy(client, client, t.origin, &t.origin.inbox)
	})
	t.copy(t.origin, t.origin.Conn, client, hijacked)
	back.Wait()
}

func (t *tunnel) touch() { t.active.Store(time.Now().UnixNano()) }

type reader interface{ Read(p []byte) (int, error) }

// copy carries one direction, to its end. from reads what arrives at source.
// A clean end closes only this direction where the transport can do that, so the
// other side may still finish; any other end closes both.
func (t *tunnel) copy(to net.Conn, half net.Conn, source net.Conn, from reader) {
	err := t.pump(to, source, from)
	if err == nil && closeWrite(half) {
		// The other direction need not be waited for as long as for a stream.
		t.ended.Store(true)
		if to.SetReadDeadline(time.Now().Add(t.up.cfg.IdleTimeout)) == nil {
			return
		}
	}
	to.Close()
	source.Close()
}

// limit is how long both sides may be silent.
func (t *tunnel) limit() time.Duration {
	if t.ended.Load() {
		return t.up.cfg.IdleTimeout
	}
	return t.up.cfg.StreamTimeout
}

func (t *tunnel) pump(to, source net.Conn, from reader) (err error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	for {
		limit := t.limit()
		silent := time.Since(time.Unix(0, t.active.Load()))
		if err := source.SetReadDeadline(time.Now().Add(limit - silent)); err != nil {
			return err
		}
		if t.limit() != limit {
			continue // the other direction ended meanwhile
		}
		n, err := from.Read(*buf)
		if n > 0 {
			t.touch()
			if err := to.SetWriteDeadline(time.Now().Add(t.up.cfg.IdleTimeout)); err != nil {
				return err
			}
			if _, err := to.Write((*buf)[:n]); err != nil {
				return err
			}
			t.touch()
		}
		switch {
		case err == nil:
		case isEnd(err):
			return nil
		case !isTimeout(err) || time.Since(time.Unix(0, t.active.Load())) >= t.limit():
			return err
		}
	}
}

func isEnd(err error) bool { return err == io.EOF }
