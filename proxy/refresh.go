package proxy

import (
	"io"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// maxRefreshes bounds the answers that are renewed at a time while stale ones serve. What
// finds no room is renewed by a later request.
const maxRefreshes = 64

// refresh renews a stale answer while it serves once more (RFC 5861, section 3).
func (x *exchange) refresh(o *object) {
	s := x.server
	select {
	case s.refreshes <- struct{}{}:
	default:
		return
	}
	flight, follower := s.flights.Join(x.key, x.selectFunc)
	if follower != nil { // somebody renews it already
		flight = follower.Wait(0, true, nil).Flight
	}
	if flight == nil || !flight.Leads() || !x.site.pin() {
		if flight != nil {
			flight.Leave()
		}
		<-s.refreshes
		return
	}
	l := &x.lookup
	// All of it is asked for, whatever the visitor wanted of it.
	l.stale, l.flight, x.wholly = o, flight, true
	x.prepare()
	x.out.Header.SetMethod(fasthttp.MethodGet)
	l.sent = s.now()
	a := x.asked(x.exchanged(true))
	// It outlives the exchange, which gets another request in the place of this one.
	x.out = new(fasthttp.Request)
	a.Request, a.Method, a.key = nil, []byte(fasthttp.MethodGet), append([]byte(nil), x.key...)
	r := &refreshing{
		server: s, site: x.site, route: x.route, asked: a, object: o, flight: flight, cookie: x.site.Cookie.Name(),
		options: upstream.Options{Scheme: x.scheme, Host: x.host, Visitor: x.stickTo(), Client: x.clientIP},
	}
	l.stale, l.flight, l.ready, x.wholly = nil, nil, false, false
	go r.run()
}

// refreshing is the renewal of one answer.
type refreshing struct {
	server  *Server
	site    *Site
	route   *route
	asked   *asked
	object  *object
	flight  *flight
	options upstream.Options
	cookie  string
}

func (r *refreshing) run() {
	s := r.server
	defer func() {
		if p := recover(); p != nil {
			s.notePanic("renewing a kept answer", p)
		}
		r.flight.Leave()
		r.site.unpin()
		<-s.refreshes
	}()
	var resp fasthttp.Response
	s.dateless.CopyTo(&resp.Header)
	if err := r.route.upstream.Do(r.asked.out, &resp, nil, r.options); err != nil {
		s.log.Debug("kept answer not renewed", "upstream", r.route.upstream.Name(), "error", err.Error())
		return
	}
	defer func() { _ = resp.CloseBodyStream() }()
	r.route.upstream.Deliver(&resp, r.options.Scheme, r.options.Host, r.asked.out.Header.RequestURI())
	resp.Header.DelCookie(r.cookie)
	r.asked.Received = s.now()
	if resp.StatusCode() == fasthttp.StatusNotModified {
		if !confirms(&resp.Header, r.object, r.asked.Received) {
			s.objects.Drop(r.object)
			return
		}
		s.stats.CacheConfirmed.Add(1)
		r.flight.Found(s.renew(r.asked, r.object, &resp.Header))
		return
	}
	if failsFor(resp.StatusCode()) {
		return
	}
	r.replace(&resp)
}

// replace keeps a new answer in the place of the old one.
func (r *refreshing) replace(resp *fasthttp.Response) {
	s := r.server
	body, _ := resp.BodyStream().(*upstream.Body)
	var from *upstream.TakenBody
	if body != nil {
		from = body.Take()
		defer func() { _ = from.Close() }()
	}
	r.asked.Incomplete = from != nil && !from.Framed()
	rules := cache.ReadRules(&r.asked.Exchange, &resp.Header, r.asked.override)
	if !mayKeep(&rules, &r.asked.Exchange) {
		if !r.asked.TellsNothing(resp.StatusCode()) {
			s.objects.Drop(r.object)
		}
		r.flight.Refuse(true)
		return
	}
	o := s.newObject(r.asked, &rules, &resp.Header)
	to := r.flight.Open(o, max(-1, resp.Header.ContentLength()))
	if to == nil {
		s.objects.Drop(r.object)
		return
	}
	if from != nil {
		if _, err := io.Copy(to, from); err != nil {
			to.Fail(err)
			if err == cache.ErrOverflow {
				s.objects.Drop(r.object)
			}
			return
		}
	}
	if to.Finish() {
		s.stats.CacheStores.Add(1)
	}
}
