package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestNoVisitorSeesAnothers is the leak canary. 500 visitors with secrets of their own
// crawl pages of all kinds: over HTTP/1.1, plain and by TLS, and HTTP/2, over
// connections that carry now one and now another of them; some break off, ask for
// parts, or with each other's validators. Meanwhile the configuration changes, kill
// switches are thrown, plugins die, and caches and profiles have hardly any room.
// No answer may hold what is another's.
func TestNoVisitorSeesAnothers(t *testing.T) {
	t.Run("binary", func(t *testing.T) { runCanary(t, binary) })
	if rounds(0, 1) == 1 {
		t.Run("race detector", func(t *testing.T) { runCanary(t, checkedBinary) })
	}
}

func runCanary(t *testing.T, build func() (string, error)) {
	c := startCanary(t, build)
	c.introduce()
	var crawlers sync.WaitGroup
	for i := range 12 {
		crawlers.Go(func() { c.crawl(i) })
	}
	end := time.Now().Add(time.Duration(rounds(8, 60)) * time.Second)
	limit := time.Now().Add(time.Duration(rounds(60, 240)) * time.Second)
	for time.Now().Before(end) || !c.enough() && time.Now().Before(limit) && !t.Failed() {
		c.disturb()
	}
	c.stop.Store(true)
	crawlers.Wait()
	c.report()
}

// canary is a run of it.
type canary struct {
	t        *testing.T
	f        *front
	site     *canarySite
	plugin   string // path of the coupons' program
	check    *canaryCheck
	visitors []*canaryVisitor
	h2       *http.Transport
	random   *rand.Rand // of what disturbs

	order atomic.Pointer[order]
	stop  atomic.Bool

	reloads, switched, killed int
	aborted, pipelined        atomic.Int64
}

func startCanary(t *testing.T, build func() (string, error)) *canary {
	c := &canary{
		t: t, site: startCanarySite(t), check: newCanaryCheck(t), random: rand.New(rand.NewPCG(1, 2)),
		plugin: buildCoupons(t),
	}
	for i := range 500 {
		c.visitors = append(c.visitors, newCanaryVisitor(i, c.random))
	}
	c.order.Store(&order{applied: 1, written: 1, settled: true})
	c.f = protocol{"HTTP/2", true}.front(t)
	c.f.configure(t, c.config(1))
	c.f.start(t, build)
	c.h2 = c.f.transport(t)
	return c
}

// config is an edition of the configuration.
func (c *canary) config(edition int) map[string]any {
	edit := func(place, html string) map[string]any {
		return map[string]any{"select": "#" + place, "op": "set_inner", "html": html}
	}
	numbered := func(name string) string { return fmt.Sprintf("%s%s-%d", canaryPrefix, name, edition) }
	experience := func(name, pages string, more map[string]any, edits ...any) map[string]any {
		x := map[string]any{"name": name, "pages": []string{pages}}
		if len(edits) > 0 {
			x["edits"] = edits
		}
		maps.Copy(x, more)
		return x
	}
	experiences := []any{
		experience("values", "/x/*/s*", nil, edit("values", `<b>{{trait "secret" "nobody"}}</b><i>{{attribute "cookie.sid" "nobody"}}</i>`+
			`<u>{{attribute "header.x-secret" "nobody"}}</u><s>{{attribute "query.secret" "nobody"}}</s><em>{{segment "none"}}</em>`)),
		experience("data", "/x/json/*", nil, map[string]any{"pointer": "/secret", "op": "set", "json": `{{trait "secret" "nobody"}} {{segment "none"}}`}),
		experience("edition", "/x/*/p1", nil, edit("edition", numbered("edition"))),
		experience("split-a", "/x/*/p2", map[string]any{"experiment": "split", "arm": "a"}, edit("split", canaryPrefix+"split-a")),
		experience("split-b", "/x/*/p2", map[string]any{"experiment": "split", "arm": "b"}, edit("split", canaryPrefix+"split-b")),
		experience("held", "/x/*/p2", map[string]any{"holdout": "40%"}, edit("held", canaryPrefix+"held")),
		experience("coupon", "/x/*/s*", map[string]any{"plugin": "coupons", "settings": map[string]any{
			"key": canaryKey, "prefix": canaryPrefix + "coupon-", "html": `<b>{{offer "code" "nobody"}}</b>`,
		}}),
	}
	offers := []any{map[string]any{"name": "all", "value": 1, "title": "for all", "text": "for all"}}
	var segments []any
	for _, tier := range canaryTiers[1:] {
		segments = append(segments, map[string]any{"name": tier, "when": fmt.Sprintf("traits[\"tier\"] == %q", tier)})
		experiences = append(experiences, experience(tier, "/x/**", map[string]any{"segment": tier},
			edit("segment", segmentSecret(tier, edition)),
			map[string]any{"body": "text", "op": "replace_text", "pattern": "SEGMENT", "text": segmentSecret(tier, edition)}))
		offers = append(offers, map[string]any{
			"name": tier, "value": 2, "segments": []string{tier}, "title": canaryPrefix + "offer-" + tier, "text": "for " + canaryPrefix + "offer-" + tier,
		})
	}
	for _, pages := range []string{"/x/*/p3", "/x/*/s1"} {
		experiences = append(experiences, experience("offer "+pages, pages, map[string]any{"plugin": "offers", "settings": map[string]any{
			"select": "#offer", "html": `<a title="{{offer "title"}}">{{offer "text"}}</a>`, "offers": offers,
		}}))
	}
	if edition%2 == 1 {
		experiences = append(experiences, experience("toggle", "/x/*/p3", nil, edit("toggle", numbered("toggle"))))
	}
	cache := map[string]any{}
	for _, budget := range cacheBudgets(c.t) {
		cache[budget] = "1MiB"
	}
	return map[string]any{
		"server": map[string]any{"personalize_budget": "10s", "max_queue_delay": "1m", "access_log": false},
		"upstreams": []any{map[string]any{
			"name": "site", "url": c.site.base, "host": "client",
			"ejection": map[string]any{"disabled": true}, "breaker": map[string]any{"disabled": true}, // pages that break are meant to
		}},
		"routes": []any{
			map[string]any{"name": "plain", "paths": []string{"/plain/**"}, "upstream": "site", "personalize": false},
			map[string]any{"name": "site", "upstream": "site"},
		},
		"profile":  map[string]any{"max_entries": 100},
		"segments": segments,
		"plugins": []any{
			map[string]any{"name": "content", "in_process": true}, map[string]any{"name": "offers"},
			map[string]any{"name": "coupons", "command": []string{c.plugin}},
		},
		"experiences": experiences,
		"experiments": []any{map[string]any{"name": "split", "arms": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}},
		"cache":       cache,
	}
}

// cacheBudgets lists the settings that bound a cache's memory, by the reference.
func cacheBudgets(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "CONFIGURATION.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "\n## cache\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+_memory)` \\|").FindAllStringSubmatch(block, -1) {
		names = append(names, m[1])
	}
	if !slices.Contains(names, "variant_memory") {
		t.Fatalf("budgets of caches: %q", names)
	}
	return names
}

// introduce lets everybody state their secrets for the first time.
func (c *canary) introduce() {
	next := make(chan *canaryVisitor)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			for v := range next {
				for try := 0; v.vid == "" && try < 1000 && !c.t.Failed(); try++ {
					c.overHTTP2([]*visit{c.identify(v, random)})
				}
			}
		})
	}
	for _, v := range c.visitors {
		next <- v
	}
	close(next)
	group.Wait()
	for _, v := range c.visitors {
		if v.vid == "" {
			c.t.Fatalf("%s has no id", v.name)
		}
	}
}

// enough reports whether all that the canary is for has happened.
func (c *canary) enough() bool {
	c.check.mu.Lock()
	defer c.check.mu.Unlock()
	n := rounds(1, 5)
	return c.check.answers > 2000*n && c.check.cached["hit"] > 30*n && c.check.status[http.StatusNotModified] > 10*n &&
		c.reloads >= 5*n && c.switched >= 3*n && c.killed > 0
}

// disturb changes something about the node.
func (c *canary) disturb() {
	was := *c.order.Load()
	change := func(during, after order) func() {
		during.settled, after.settled = false, true
		c.order.Store(&during)
		return func() { c.order.Store(&after) }
	}
	switch n := c.random.IntN(10); {
	case n < 6: // the next edition
		during, after := was, was
		during.written++
		after.written++
		after.applied = after.written
		done := change(during, after)
		c.reload(after.written)
		done()
		c.reloads++
	case n < 9: // a kill switch, and off again; what it turns off is what it is until then
		during, after := was, was
		after.off = killable[c.random.IntN(len(killable))]
		during.off = after.off
		done := change(during, after)
		c.f.turn(http.MethodPut, after.off)
		done()
		c.pause()
		done = change(during, was)
		c.f.turn(http.MethodDelete, after.off)
		done()
		c.switched++
	case c.killed < rounds(1, 6): // each time they take longer to come back
		for _, pid := range c.f.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		c.killed++
	}
	c.site.version.Add(1)
	c.pause()
}

var killable = []string{
	"everything", "route/site", "experience/values", "experience/red", "experience/edition", "experience/held",
	"plugin/content", "plugin/coupons", "plugin/offers",
}

// pause lets visitors crawl on.
func (c *canary) pause() {
	timer := time.NewTimer(time.Duration(100+c.random.IntN(200)) * time.Millisecond)
	<-timer.C
}

// reload puts an edition in force.
func (c *canary) reload(edition int) {
	f := &front{node: c.f.node, server: c.f.server, file: c.f.file + ".new"}
	f.configure(c.t, c.config(edition))
	if err := os.Rename(f.file, c.f.file); err != nil {
		c.t.Fatal(err)
	}
	asker := newClient(c.t, c.f.site)
	defer asker.http.CloseIdleConnections()
	try := 0
	waitFor(c.t, 30*time.Second, "the edition is in force", func() error {
		if try++; try%50 == 1 { // also when a plugin was away
			c.f.signal(syscall.SIGHUP)
		}
		a, err := asker.try(http.MethodGet, "/x/nostore/p1", "")
		if err == nil && !strings.Contains(a.body, fmt.Sprintf("%sedition-%d<", canaryPrefix, edition)) {
			err = fmt.Errorf("status %d: %s", a.status, tail(a.body, 300))
		}
		return err
	})
}

// report says what was seen, and fails a canary that was shown too little.
func (c *canary) report() {
	k := c.check
	evictions := 0.0
	for name, value := range c.f.metrics() {
		if strings.HasPrefix(name, "sedge_cache_evict") {
			evictions += value
		}
	}
	c.t.Logf("%d answers, %d whole, %d broken off by us, %d pipelined; the origin was asked %d times", k.answers, k.complete, c.aborted.Load(), c.pipelined.Load(), c.site.asked.Load())
	c.t.Logf("statuses %v", k.status)
	c.t.Logf("Cache-Status %v", k.cached)
	c.t.Logf("%d reloads, %d kill switches, %d times all plugins killed, %.0f evictions", c.reloads, c.switched, c.killed, evictions)
	c.t.Logf("%d secrets checked, %v the asker's own", k.secrets, k.own)
	c.t.Logf("%d pages compared byte for byte, %d parts; places filled %v, left as they were %v", k.exact, k.parts, k.filled, k.blank)
	if k.failures > maxCanaryFailures {
		c.t.Errorf("and %d more failures", k.failures-maxCanaryFailures)
	}
	if !c.enough() {
		c.t.Error("too little happened")
	}
	if evictions < 10 {
		c.t.Errorf("%.0f evictions: there was room for everything", evictions)
	}
	// A canary that is shown no secrets cannot die.
	for _, kind := range []string{"trait", "cookie", "header", "query", "pass", "coupon", "segment", "edition", "toggle", "split", "held", "offer"} {
		if k.own[kind] < 5 {
			c.t.Errorf("only %d secrets of the kind %q were shown to their owners", k.own[kind], kind)
		}
	}
	for _, place := range append(places, "data", "style") {
		if k.filled[place] < 5 || mayFail(place) && k.blank[place] > 4*k.filled[place] {
			c.t.Errorf("the place %q was filled %d times, and left as it was %d times", place, k.filled[place], k.blank[place])
		}
	}
}

// identify makes the call by which a visitor states another secret.
func (c *canary) identify(v *canaryVisitor, random *rand.Rand) *visit {
	next := v.state(random)
	text, err := json.Marshal(map[string]any{"type": "identify", "traits": map[string]string{"secret": next.trait, "tier": next.tier}})
	if err != nil {
		c.t.Error(err)
	}
	x := &visit{
		who: v, how: "person", method: http.MethodPost, scheme: "https", host: "one.example", path: "/_sedge/v1/identify", area: "identify",
		body: string(text), fields: [][2]string{{"User-Agent", agent}, {"Content-Type", "application/json"}, {"Sec-Fetch-Dest", "empty"}},
	}
	if v.vid != "" {
		x.fields = append(x.fields, [2]string{"Cookie", visitorCookie + v.vid})
	}
	return x
}

// next makes a visitor's next request.
func (c *canary) next(v *canaryVisitor, scheme string, random *rand.Rand) *visit {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	if v != nil && random.IntN(30) == 0 {
		x := c.identify(v, random)
		x.scheme = scheme
		return x
	}
	x := &visit{who: v, how: "person", method: http.MethodGet, scheme: scheme, host: pick("one.example", "one.example", "one.example", "two.example")}
	add := func(name, value string) { x.fields = append(x.fields, [2]string{name, value}) }
	x.area = pick("x", "x", "x", "x", "o", "o", "plain")
	x.kind = canaryKinds[random.IntN(1+random.IntN(len(canaryKinds)))]
	x.name = pick("s1", "p1", "p2", "p3")
	popular := random.IntN(3) == 0 // what many ask for is answered from memory
	if popular {
		x.host, x.area, x.kind = "one.example", "x", pick("fresh", "fresh", "fresh", "json", "asks", "breaks")
	}
	x.path = "/" + x.area + "/" + x.kind + "/" + x.name
	userAgent, dest, accept := agent, "document", "text/html,*/*;q=0.8"
	switch n := random.IntN(40); {
	case v == nil:
		x.how = "stranger"
	case n == 0:
		x.area, x.path, dest, accept = "me", "/_sedge/v1/me", "empty", "*/*"
	case n == 1:
		x.how, userAgent = "bot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	case n == 2:
		x.how = "gpc"
		add("Sec-GPC", "1")
	case n == 3 && canaryPages[x.kind].body == "":
		x.how, dest, accept = "script", "empty", "*/*"
	case n == 4:
		x.method = http.MethodPost
	case n == 5:
		x.method = http.MethodHead
	}
	switch canaryPages[x.kind].body {
	case "json":
		dest, accept = "empty", "application/json"
	case "css":
		dest, accept = "style", "text/css"
	}
	add("User-Agent", userAgent)
	add("Accept", accept)
	add("Sec-Fetch-Dest", dest)
	if v != nil {
		cookies := []string{"theme=dark", "sid=" + v.sid, visitorCookie + v.vid}
		random.Shuffle(len(cookies), func(i, j int) { cookies[i], cookies[j] = cookies[j], cookies[i] })
		add("Cookie", strings.Join(cookies, "; "))
		if random.IntN(3) == 0 {
			add("X-Secret", v.header)
		}
		if random.IntN(8) == 0 && x.area != "me" && !popular {
			x.query = "secret=" + v.query
		}
		if x.kind == "members" && random.IntN(2) == 0 {
			add("Authorization", "Bearer "+v.pass)
		}
	}
	switch canaryPages[x.kind].vary {
	case "X-Flavour":
		add("X-Flavour", pick("sweet", "sour"))
	case "Accept-Language":
		add("Accept-Language", pick("de", "en", "fr"))
	}
	coding := pick("", "identity", "gzip", "gzip, deflate, br, zstd", "gzip, deflate, br, zstd")
	switch n := random.IntN(12); {
	case n < 3:
		if tags := c.check.tagsOf(x.scheme + x.host + x.path + "?" + x.query); len(tags) > 0 {
			add("If-None-Match", strings.Join(tags[random.IntN(len(tags)):], ", "))
		}
	case n == 3:
		add("If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
	case n == 4:
		coding = "identity"
		add("Range", pick("bytes=0-99", "bytes=500-1499", "bytes=-700", "bytes=100-"))
	case n == 5:
		add("Cache-Control", pick("no-cache", "max-age=0", "max-stale", "no-store"))
	}
	if coding != "" {
		add("Accept-Encoding", coding)
	}
	if x.method == http.MethodPost {
		x.body = "a=b"
		add("Content-Type", "application/x-www-form-urlencoded")
	}
	return x
}

func (c *canaryCheck) tagsOf(url string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tags[url])
}

// crawl makes requests until the canary stops: one in three crawlers over HTTP/2, all
// of them over the same connection, the others over one of HTTP/1.1 each.
func (c *canary) crawl(number int) {
	random := rand.New(rand.NewPCG(4, uint64(number)))
	var line *canaryLine
	defer func() { line.close() }()
	scheme := []string{"https", "http", "https"}[number%3]
	for !c.stop.Load() {
		group, leave := c.gather(1+random.IntN(4), scheme, random)
		if number%3 == 0 {
			c.overHTTP2(group)
		} else {
			line = c.overLine(line, scheme, group, random)
		}
		leave()
	}
}

// gather takes visitors who are free and makes their requests.
func (c *canary) gather(count int, scheme string, random *rand.Rand) (group []*visit, leave func()) {
	var taken []*canaryVisitor
	for range count {
		if random.IntN(15) == 0 {
			group = append(group, c.next(nil, scheme, random))
			continue
		}
		v := c.visitors[random.IntN(len(c.visitors))]
		if v.mu.TryLock() {
			taken = append(taken, v)
			group = append(group, c.next(v, scheme, random))
		}
	}
	return group, func() {
		for _, v := range taken {
			v.mu.Unlock()
		}
	}
}

// received takes an answer, or what there is of it.
func (c *canary) received(v *visit, resp *http.Response, body []byte, whole bool) {
	a := &canaryAnswer{status: resp.StatusCode, header: resp.Header, body: body, whole: whole, after: c.order.Load()}
	if v.area == "identify" {
		switch a.status {
		case http.StatusOK:
			v.who.confirm()
		case http.StatusTooManyRequests: // too many profiles are not written yet
			v.who.withdraw()
		default:
			c.t.Errorf("identify: %d %s", a.status, body)
		}
		if value := mintedIn(a.header); value != "" && v.who.vid == "" {
			defer v.who.takeCookie(value)
		}
	}
	c.check.see(v, a)
}

// mayBreak reports whether an answer need not come to its end.
func (v *visit) mayBreak() bool { return canaryPages[v.kind].breaks }

// overHTTP2 makes requests at the same time over the connection that all share.
func (c *canary) overHTTP2(group []*visit) {
	var requests sync.WaitGroup
	for i, v := range group {
		v.before = c.order.Load()
		requests.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, v.method, c.f.url+v.target(), strings.NewReader(v.body))
			if err != nil {
				c.t.Error(err)
				return
			}
			req.Host = v.host
			for _, f := range v.fields {
				req.Header.Set(f[0], f[1])
			}
			resp, err := c.h2.RoundTrip(req)
			if err != nil {
				if !v.mayBreak() {
					c.t.Errorf("%s: %v", v, err)
				}
				return
			}
			defer resp.Body.Close()
			limit := int64(0)
			if len(group) == 4 && i == 0 && v.area != "identify" { // leaves in the middle
				limit = 1500
				c.aborted.Add(1)
			}
			body, whole, err := readBody(resp.Body, limit)
			if err != nil && !v.mayBreak() {
				c.t.Errorf("%s: %v", v, err)
			}
			c.received(v, resp, body, whole)
		})
	}
	requests.Wait()
}

func (v *visit) target() string {
	if v.query == "" {
		return v.path
	}
	return v.path + "?" + v.query
}

// canaryLine is a connection that speaks HTTP/1.1.
type canaryLine struct {
	net.Conn
	reader *bufio.Reader
}

func (l *canaryLine) close() {
	if l != nil {
		_ = l.Conn.Close()
	}
}

func (c *canary) dial(scheme string) (*canaryLine, error) {
	var conn net.Conn
	var err error
	if scheme == "https" {
		conn, err = tls.Dial("tcp", address(c.f.url), &tls.Config{RootCAs: c.f.roots})
	} else {
		conn, err = net.Dial("tcp", address(c.f.site))
	}
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	return &canaryLine{conn, bufio.NewReader(conn)}, nil
}

// overLine sends requests one behind the other, without waiting for answers, and
// returns the connection for the next ones, nil if it is used up.
func (c *canary) overLine(line *canaryLine, scheme string, group []*visit, random *rand.Rand) *canaryLine {
	if line == nil {
		var err error
		if line, err = c.dial(scheme); err != nil {
			c.t.Error(err)
			c.stop.Store(true)
			return nil
		}
	}
	var requests strings.Builder
	abort := -1
	for _, v := range group {
		v.before = c.order.Load()
		v.write(&requests)
		if v.area == "identify" {
			abort = len(group) // whether it arrived must be known
		}
	}
	if abort < 0 && random.IntN(10) == 0 {
		abort = random.IntN(len(group) + 1)
	}
	if _, err := io.WriteString(line, requests.String()); err != nil {
		line.close()
		return nil // it had been closed, and says so as soon as it is read
	}
	c.pipelined.Add(int64(max(0, len(group)-1)))
	for i, v := range group {
		resp, err := http.ReadResponse(line.reader, &http.Request{Method: v.method})
		if err != nil {
			if i == 0 || !group[i-1].mayBreak() {
				c.t.Errorf("%s: %v", v, err)
			}
			line.close()
			return nil
		}
		limit := int64(0)
		if i == abort { // hangs up in the middle
			limit = 1 + random.Int64N(5000)
			c.aborted.Add(1)
		}
		body, whole, err := readBody(resp.Body, limit)
		if err != nil && !v.mayBreak() {
			c.t.Errorf("%s: %v", v, err)
		}
		c.received(v, resp, body, whole)
		if err != nil || i == abort || resp.Close {
			line.close()
			return nil
		}
	}
	return line
}

// write writes the request as HTTP/1.1 has it.
func (v *visit) write(w *strings.Builder) {
	fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: %s\r\n", v.method, v.target(), v.host)
	for _, f := range v.fields {
		fmt.Fprintf(w, "%s: %s\r\n", f[0], f[1])
	}
	if v.body != "" {
		fmt.Fprintf(w, "Content-Length: %d\r\n", len(v.body))
	}
	fmt.Fprintf(w, "\r\n%s", v.body)
}
