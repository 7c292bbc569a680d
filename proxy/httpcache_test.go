package proxy

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// TestHTTPCache runs a table of what the RFCs say of a shared cache: over both
// versions of HTTP, and again with an experience on another page of the route, which
// may change nothing. Each section has a node of its own, and each case paths of its
// own. The clock is the test's.
func TestHTTPCache(t *testing.T) {
	sections := bySection(t, httpCacheCases())
	passed := make([][]int, len(sections))
	for _, run := range cacheRuns {
		t.Run(run.name, func(t *testing.T) {
			for i, section := range sections {
				passed[i] = append(passed[i], 0)
				t.Run(section[0].section, func(t *testing.T) {
					f := startCached(t, run, setup{})
					for _, c := range section {
						if t.Run(c.name, func(t *testing.T) { f.run(t, c) }) {
							passed[i][len(passed[i])-1]++
						}
					}
				})
			}
		})
	}
	t.Log("\n" + passedPerSection(sections, passed))
}

// cacheRun is one of the ways in which all cases must hold.
type cacheRun struct {
	name       string
	over       protocol
	experience bool // an experience names another page of the route
}

var cacheRuns = [...]cacheRun{
	{"h1", plainHTTP1, false}, {"h2", overHTTP2, false},
	{"h1 beside an experience", plainHTTP1, true}, {"h2 beside an experience", overHTTP2, true},
}

// cacheCase is one sentence of an RFC, or a choice that it leaves.
type cacheCase struct {
	section string // number of the RFC, and section in it
	name    string // what holds; in brackets, whose word it is where the RFC has none
	steps   []*cacheStep
}

// bySection gathers the cases of each section, in the order of the RFCs' sections.
func bySection(t *testing.T, cases []cacheCase) [][]cacheCase {
	if len(cases) < 150 {
		t.Errorf("%d cases: expected at least 150", len(cases))
	}
	var sections [][]cacheCase
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.section+c.name] {
			t.Errorf("%s: %q stands twice in the table", c.section, c.name)
		}
		seen[c.section+c.name] = true
		at := slices.IndexFunc(sections, func(s []cacheCase) bool { return s[0].section == c.section })
		if at < 0 {
			at, sections = len(sections), append(sections, nil)
		}
		sections[at] = append(sections[at], c)
	}
	return sections
}

func passedPerSection(sections [][]cacheCase, passed [][]int) string {
	var table strings.Builder
	line := func(name string, cases int, passed []int) {
		fmt.Fprintf(&table, "%-16s %4d cases, passed", name, cases)
		for _, n := range passed {
			fmt.Fprintf(&table, " %4d", n)
		}
		table.WriteString("\n")
	}
	all, total := 0, make([]int, len(cacheRuns))
	for i, section := range sections {
		line(section[0].section, len(section), passed[i])
		all += len(section)
		for run, n := range passed[i] {
			total[run] += n
		}
	}
	line("all", all, total)
	return table.String()
}

// cacheStep is one request, or several of a kind at once: how it is asked, what the
// origin answers if it is asked, and what must come of it.
type cacheStep struct {
	delay                time.Duration // before it
	method, target, host string
	header               []string // lines
	payload              string
	clients              int      // that ask at once
	kinds                []string // a line that tells them apart, in turn
	untilRight           bool     // ask again until it is right, since something goes on behind
	script               cacheScript
	want                 cacheWant
	checks               []func(r *cacheResult) string // "" if it holds
}

// cacheScript is what the origin answers. In header lines and bodies {+60} is the date
// one minute after the case began, also as {rfc850 +60}, {asctime +60} or {lower +60};
// {path} is the case's own path and {base} the URL of the site. A line "-Date" takes away
// one that is there by default.
type cacheScript struct {
	given       bool // it may be asked
	status      int
	header      []string
	text        string // "" for one that no other answer has
	noText      bool
	took        time.Duration
	chunked     bool
	trailer     string
	ends        string // by what else than its length it ends: "close", "cut" or "down"
	onCondition bool   // 304 to a conditional request, else the whole
	honest      bool   // 304 if a validator of the answer is asked for
	parts       bool   // 206 if a range is asked for
	refusals    int    // the first requests find it down
}

// cacheWant is what must come of a step; the zero value wants nothing.
type cacheWant struct {
	asked  int  // how often the origin is asked; -1 for as often as you like
	status int  // 0 for that of the answer
	body   *int // which step's answer it is, from 1; 0 for the latest whole one
	text   *string
	fails  bool // an error of the proxy's own
	breaks bool // the body breaks off
	behind bool // the origin is asked behind the client's back
}

// What a case is written with: the request.

func steps(s ...*cacheStep) []*cacheStep { return s }

func do(method string) *cacheStep {
	return &cacheStep{method: method, clients: 1, want: cacheWant{asked: -1}}
}

func get() *cacheStep  { return do("GET") }
func head() *cacheStep { return do("HEAD") }
func post() *cacheStep { return do("POST").sends("x=1") }

// after begins a step some seconds later than the one before.
func after(seconds int) *cacheStep {
	s := get()
	s.delay = time.Duration(seconds) * time.Second
	return s
}

func (s *cacheStep) as(method string) *cacheStep { s.method = method; return s }
func (s *cacheStep) at(target string) *cacheStep { s.target = target; return s }
func (s *cacheStep) on(host string) *cacheStep   { s.host = host; return s }
func (s *cacheStep) with(lines ...string) *cacheStep {
	s.header = append(s.header, lines...)
	return s
}
func (s *cacheStep) sends(body string) *cacheStep    { s.payload = body; return s }
func (s *cacheStep) times(n int) *cacheStep          { s.clients = n; return s }
func (s *cacheStep) each(lines ...string) *cacheStep { s.kinds = lines; return s }
func (s *cacheStep) soon() *cacheStep                { s.untilRight = true; return s }

// What a case is written with: the origin.

func (s *cacheStep) answer(lines ...string) *cacheStep { return s.answers(200, lines...) }
func (s *cacheStep) answers(status int, lines ...string) *cacheStep {
	s.script.given, s.script.status, s.script.header = true, status, lines
	return s
}

// notModified answers a conditional request with 304 and these lines, any other one
// with a whole answer with them.
func (s *cacheStep) notModified(lines ...string) *cacheStep {
	s.answer(lines...)
	s.script.onCondition = true
	return s
}
func (s *cacheStep) honest() *cacheStep { s.script.honest = true; return s }
func (s *cacheStep) ranged() *cacheStep { s.script.parts = true; return s }
func (s *cacheStep) body(text string) *cacheStep {
	s.script.text, s.script.noText = text, text == ""
	return s
}
func (s *cacheStep) slow(seconds int) *cacheStep {
	s.script.took = time.Duration(seconds) * time.Second
	return s
}
func (s *cacheStep) chunked() *cacheStep { s.script.chunked = true; return s }
func (s *cacheStep) trail(line string) *cacheStep {
	s.script.chunked, s.script.trailer = true, line
	return s
}
func (s *cacheStep) ends(how string) *cacheStep { s.script.ends = how; return s }
func (s *cacheStep) down() *cacheStep           { return s.answer().ends("down") }
func (s *cacheStep) downFor(n int) *cacheStep   { s.script.refusals = n; return s }

// What a case is written with: what must come of it.

// fwd wants the origin asked once, and its answer.
func (s *cacheStep) fwd() *cacheStep { s.want.asked = 1; return s.of(-1) }

// hit wants the latest whole answer without the origin being asked.
func (s *cacheStep) hit() *cacheStep { return s.hitOf(0) }

// hitOf wants the answer of a step, from 1, without the origin being asked. Whatever
// is used without validation tells its age (9111 4).
func (s *cacheStep) hitOf(step int) *cacheStep {
	s.want.asked = 0
	return s.of(step).check(func(r *cacheResult) string {
		if r.Header.Get("Age") == "" {
			return "no Age: " + headerSet(r.Header)
		}
		return ""
	})
}

// validated wants the origin asked under a condition, and the stored answer.
func (s *cacheStep) validated() *cacheStep {
	s.want.asked = 1
	return s.of(0).check(func(r *cacheResult) string {
		if len(r.asked) > 0 && !isConditional(r.asked[0]) {
			return "the origin was asked without a condition"
		}
		return ""
	})
}

// of says whose answer is wanted: of a step, from 1, 0 for the latest whole one, -1 for
// this step's.
func (s *cacheStep) of(step int) *cacheStep { s.want.body = &step; return s }

// whole wants any of the origin's whole answers, asked for or not.
func (s *cacheStep) whole() *cacheStep {
	return s.check(func(r *cacheResult) string {
		for _, given := range r.given {
			if !given.partial && r.StatusCode == given.status && r.body == given.text {
				return ""
			}
		}
		return fmt.Sprintf("%d %q is none of the origin's answers", r.StatusCode, r.body)
	})
}

func (s *cacheStep) notOf(step int) *cacheStep {
	return s.check(func(r *cacheResult) string {
		for _, given := range r.given {
			if given.step == step && r.body == given.text {
				return fmt.Sprintf("it is the answer of step %d", step)
			}
		}
		return ""
	})
}

// refreshes wants the origin asked once behind the client's back, so that the step goes
// with a hit.
func (s *cacheStep) refreshes() *cacheStep {
	s.want.asked, s.want.behind = 1, true
	return s
}

func (s *cacheStep) asks(n int) *cacheStep        { s.want.asked = n; return s }
func (s *cacheStep) gets(status int) *cacheStep   { s.want.status = status; return s }
func (s *cacheStep) reads(text string) *cacheStep { s.want.text = &text; return s }
func (s *cacheStep) fails() *cacheStep            { s.want.fails = true; return s }
func (s *cacheStep) breaks() *cacheStep           { s.want.breaks = true; return s }
func (s *cacheStep) age(seconds int) *cacheStep   { return s.has("Age: " + strconv.Itoa(seconds)) }
func (s *cacheStep) part(of, text string) *cacheStep {
	return s.gets(206).reads(text).has("Content-Range: bytes " + of)
}

// getsOneOf wants one of these statuses, with no body for 304.
func (s *cacheStep) getsOneOf(statuses ...int) *cacheStep {
	return s.check(func(r *cacheResult) string {
		if !slices.Contains(statuses, r.StatusCode) || r.StatusCode == 304 && r.body != "" {
			return fmt.Sprintf("status %d %q, want one of %v", r.StatusCode, r.body, statuses)
		}
		return ""
	})
}

// has wants these header lines in the answer; lines of one name count as a list.
func (s *cacheStep) has(lines ...string) *cacheStep {
	return s.check(func(r *cacheResult) string { return lacks("the answer", r.Header, lines, r.fill) })
}

func (s *cacheStep) hasNo(names ...string) *cacheStep {
	return s.check(func(r *cacheResult) string { return holds("the answer", r.Header, names) })
}

// sees wants these header lines in what the origin was asked at last.
func (s *cacheStep) sees(lines ...string) *cacheStep {
	return s.check(func(r *cacheResult) string { return lacks("the origin", r.lastAsked().Header, lines, r.fill) })
}

func (s *cacheStep) seesNo(names ...string) *cacheStep {
	return s.check(func(r *cacheResult) string { return holds("the origin", r.lastAsked().Header, names) })
}

func (s *cacheStep) seesMethod(method string) *cacheStep {
	return s.check(func(r *cacheResult) string {
		if got := r.lastAsked().Method; got != method {
			return fmt.Sprintf("the origin was asked by %q, want %s", got, method)
		}
		return ""
	})
}

// says wants these parameters of Sedge's member of Cache-Status, which is the last one
// and the only one of that name: "hit", "ttl=50"; "!stored" must not be there.
func (s *cacheStep) says(parameters ...string) *cacheStep {
	return s.check(func(r *cacheResult) string {
		list := strings.Join(r.Header["Cache-Status"], ", ")
		members := strings.Split(list, ",")
		said := strings.Split(members[len(members)-1], ";")
		for i := range said {
			said[i] = strings.TrimSpace(said[i])
		}
		if said[0] != "sedge" || strings.Count(list, "sedge") != 1 {
			return fmt.Sprintf("Cache-Status %q: want one member sedge, at the end", list)
		}
		for _, parameter := range parameters {
			name, absent := strings.CutPrefix(parameter, "!")
			there := slices.ContainsFunc(said[1:], func(p string) bool { return p == name || absent && strings.HasPrefix(p, name+"=") })
			if there == absent {
				return fmt.Sprintf("Cache-Status %q: want %s", list, parameter)
			}
		}
		return ""
	})
}

// saysNothing wants no word of Sedge in Cache-Status.
func (s *cacheStep) saysNothing() *cacheStep {
	return s.check(func(r *cacheResult) string {
		if list := strings.Join(r.Header["Cache-Status"], ", "); strings.Contains(list, "sedge") {
			return fmt.Sprintf("Cache-Status %q", list)
		}
		return ""
	})
}

// alike wants the same header as the answer of the case's first step had, but for what
// tells one answer from another.
func (s *cacheStep) alike() *cacheStep {
	return s.check(func(r *cacheResult) string {
		ignore := []string{"Age", "Cache-Status", "X-Request-Id", "Transfer-Encoding", "Content-Length"}
		if first, now := headerSet(r.first, ignore...), headerSet(r.Header, ignore...); first != now {
			return fmt.Sprintf("header\n%s\nat first\n%s", now, first)
		}
		return ""
	})
}

func (s *cacheStep) check(holds func(r *cacheResult) string) *cacheStep {
	s.checks = append(s.checks, holds)
	return s
}

// cacheResult is what came of one request of a step.
type cacheResult struct {
	reply
	client int     // which of those at once
	all    []reply // of the step
	err    error   // of reading the body
	fill   func(string) string
	asked  []*http.Request // what the origin was asked in this step
	given  []givenAnswer   // all that it answered in this case
	first  http.Header     // of the answer to the case's first step
}

func (r *cacheResult) count(is func(one reply) bool) (n int) {
	for _, one := range r.all {
		if is(one) {
			n++
		}
	}
	return n
}

func (r *cacheResult) lastAsked() *http.Request {
	if len(r.asked) == 0 {
		return &http.Request{}
	}
	return r.asked[len(r.asked)-1]
}

// givenAnswer is what the origin answered.
type givenAnswer struct {
	step, arrival int
	status        int
	text          string
	partial       bool // it is no whole answer
	scene         cacheScene
}

// name is what an answer says of itself.
func (g *givenAnswer) name() string { return fmt.Sprintf("%d.%d", g.step, g.arrival) }

func lacks(who string, h http.Header, lines []string, fill func(string) string) string {
	for _, line := range lines {
		name, want, _ := strings.Cut(line, ":")
		want = fill(strings.TrimSpace(want))
		if got := strings.Join(h.Values(name), ", "); got != want {
			return fmt.Sprintf("%s: %s is %q, want %q", who, name, got, want)
		}
	}
	return ""
}

func holds(who string, h http.Header, names []string) string {
	for _, name := range names {
		if got := h.Values(name); len(got) > 0 {
			return fmt.Sprintf("%s: there is %s: %q", who, name, got)
		}
	}
	return ""
}

func isConditional(r *http.Request) bool {
	return r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
}

// cacheFront is a node with an origin that answers as the present step says.
type cacheFront struct {
	*node
	clock  *cacheClock
	cookie string // that every visitor sends, "" for none

	mu    sync.Mutex
	cases int
	scene cacheScene
	step  *cacheStep
	index int // of the step, from 1
	asked []*http.Request
	given []givenAnswer
	first http.Header
	open  chan struct{} // closed: the origin may answer
}

// cacheScene is what a case's placeholders stand for.
type cacheScene struct {
	path, base string
	began      time.Time
}

// cacheClock moves when the test says so, and shows whole seconds, as dates do.
type cacheClock struct{ now atomic.Int64 }

func newCacheClock() *cacheClock {
	c := &cacheClock{}
	c.now.Store(time.Now().Unix())
	return c
}

func (c *cacheClock) Now() time.Time       { return time.Unix(c.now.Load(), 0) }
func (c *cacheClock) move(d time.Duration) { c.now.Add(int64(d / time.Second)) }

const campaignPage = `<html><body><h1 id="hero">Welcome</h1></body></html>`

// startCached runs a node for one of the ways in which caching must work.
func startCached(t *testing.T, run cacheRun, o setup) *cacheFront {
	f := &cacheFront{clock: newCacheClock()}
	o.over, o.now = run.over, f.clock.Now
	o.up.Breaker.Disabled = true // errors are what some cases are about
	if run.experience {
		o.engines = always(text("#hero", "For you"))
		o.engines.concerned = func(p *decision.Page) bool { return p.Path == "/campaign" }
	}
	f.node = start(t, rawOrigin(t, f.serve), o)
	if run.experience {
		_, f.cookie = f.visitor()
		if r := f.get("/campaign", "Cookie", f.cookie); !strings.Contains(r.body, "For you") {
			t.Fatalf("the experience does not work: %d %q", r.StatusCode, r.body)
		}
	}
	return f
}

// run plays one case.
func (f *cacheFront) run(t *testing.T, c cacheCase) {
	f.mu.Lock()
	f.cases++
	f.scene, f.given, f.first = cacheScene{fmt.Sprintf("/case%d", f.cases), f.base, f.clock.Now()}, nil, nil
	f.mu.Unlock()
	for i, s := range c.steps {
		f.clock.move(s.delay)
		problems := f.play(i+1, s)
		for deadline := time.Now().Add(cachePatience); s.untilRight && len(problems) > 0 && time.Now().Before(deadline); {
			time.Sleep(2 * time.Millisecond) // between two tries; what is wanted decides
			problems = f.play(i+1, s)
		}
		for _, problem := range problems {
			t.Errorf("step %d, %s: %s", i+1, s.method, problem)
		}
	}
}

// play sends a step's requests and returns what is wrong with what came of them.
func (f *cacheFront) play(index int, s *cacheStep) []string {
	open := make(chan struct{})
	f.mu.Lock()
	f.step, f.index, f.asked, f.open = s, index, nil, open
	f.mu.Unlock()
	replies, together := make([]reply, s.clients), make([]error, s.clients)
	var clients sync.WaitGroup
	var answered atomic.Int64
	for i := range s.clients {
		clients.Go(func() {
			defer answered.Add(1)
			replies[i], together[i] = f.ask(s, i)
		})
	}
	// Of requests at once none is answered before all wait, for the origin or for the one
	// that asks it, unless they do not.
	n := int64(s.clients)
	waited := soonTrue(cachePatience, func() bool {
		waiting := int64(f.server.FlightUsage().Followers + f.timesAsked())
		return n == 1 || answered.Load() == n || f.server.Stats().InFlight.Load() >= n && waiting >= n
	})
	close(open)
	clients.Wait()
	var problems []string
	if !waited {
		problems = append(problems, "the requests did not get as far as to wait for the origin together")
	}
	if s.want.behind {
		limit := cachePatience
		if s.untilRight {
			limit /= 50 // then it is tried again
		}
		soonTrue(limit, func() bool { return f.timesAsked() >= s.want.asked })
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.want.asked >= 0 && len(f.asked) != s.want.asked {
		problems = append(problems, fmt.Sprintf("the origin was asked %d times, want %d", len(f.asked), s.want.asked))
	}
	if index == 1 && replies[0].Response != nil {
		f.first = replies[0].Header
	}
	for i, reply := range replies {
		if reply.Response == nil {
			problems = append(problems, together[i].Error())
		}
	}
	if slices.ContainsFunc(replies, func(r reply) bool { return r.Response == nil }) {
		return problems
	}
	for i, reply := range replies {
		r := &cacheResult{reply: reply, client: i, all: replies, err: together[i], fill: f.scene.fill, asked: f.asked, given: f.given, first: f.first}
		problems = append(problems, f.judge(s, r)...)
	}
	return problems
}

func (f *cacheFront) timesAsked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// cachePatience is how long something is waited for that must come.
const cachePatience = 5 * time.Second

// soonTrue waits for a condition, as [eventually] does, and says whether it came true.
func soonTrue(limit time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(time.Millisecond) // between two looks; the condition decides
	}
	return true
}

// ask sends one request of a step.
func (f *cacheFront) ask(s *cacheStep, client int) (reply, error) {
	target := f.scene.path + cmp.Or(s.target, "/page")
	req, err := http.NewRequestWithContext(context.Background(), s.method, f.base, nil)
	if err != nil {
		return reply{}, err
	}
	req.URL.Opaque = target // byte by byte
	req.Host = s.host
	if s.payload != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(s.payload)), int64(len(s.payload))
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")
	lines := s.header
	if len(s.kinds) > 0 {
		lines = append(slices.Clip(lines), s.kinds[client%len(s.kinds)])
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		req.Header[name] = append(req.Header[name], f.scene.fill(strings.TrimSpace(value)))
	}
	if f.cookie != "" {
		cookies := append(req.Header["Cookie"], f.cookie)
		req.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, string(body)}, err
}

// judge says what is wrong with one answer. The caller holds the lock.
func (f *cacheFront) judge(s *cacheStep, r *cacheResult) []string {
	var problems []string
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	switch {
	case s.want.breaks:
		if r.err == nil && r.StatusCode != 502 {
			wrong("the cut answer came as a whole one: %d %q", r.StatusCode, r.body)
		}
		return problems
	case r.err != nil:
		wrong("%d, then %v", r.StatusCode, r.err)
		return problems
	case s.want.fails:
		if r.StatusCode < 502 || r.StatusCode > 504 || r.Header.Get("X-Answer") != "" {
			wrong("status %d, answer %q: want an error of the proxy's own", r.StatusCode, r.Header.Get("X-Answer"))
		}
	}
	status, body, any := s.want.status, s.want.text, s.want.body == nil
	if !any {
		source := f.source(*s.want.body, r.Header.Get("X-Answer"))
		if source == nil {
			wrong("%d %q, in the place of an answer that was never given", r.StatusCode, r.body)
			return problems
		}
		status = cmp.Or(status, source.status)
		if body == nil && r.StatusCode == source.status {
			body = &source.text
		}
		// Who does not know it by its body knows it by its name.
		if name := r.Header.Get("X-Answer"); r.StatusCode == source.status && name != source.name() {
			wrong("it is the answer %q, want %s", name, source.name())
		}
	}
	if status != 0 && r.StatusCode != status {
		wrong("status %d, want %d", r.StatusCode, status)
	}
	if s.method == "HEAD" || r.StatusCode == 304 {
		body = new(string)
	}
	if body != nil && r.body != *body {
		wrong("body %q, want %q", r.body, *body)
	}
	for _, check := range s.checks {
		if problem := check(r); problem != "" {
			problems = append(problems, problem)
		}
	}
	return problems
}

// source finds an answer of the origin: the one that is named, if the step got more than
// one. The caller holds the lock.
func (f *cacheFront) source(step int, named string) *givenAnswer {
	if step < 0 {
		step = f.index
	}
	var found *givenAnswer
	for i := range f.given {
		g := &f.given[i]
		if g.partial || step > 0 && g.step != step {
			continue
		}
		if found == nil || found.name() != named || found.step < g.step {
			found = g
		}
	}
	return found
}

// fill replaces what a case leaves to be filled in.
func (f *cacheScene) fill(s string) string {
	if !strings.Contains(s, "{") {
		return s
	}
	var out strings.Builder
	for s != "" {
		before, rest, ok := strings.Cut(s, "{")
		out.WriteString(before)
		if !ok {
			break
		}
		name, rest, _ := strings.Cut(rest, "}")
		out.WriteString(f.filled(name))
		s = rest
	}
	return out.String()
}

func (f *cacheScene) filled(name string) string {
	switch name {
	case "path":
		return f.path
	case "base":
		return f.base
	}
	how, offset, ok := strings.Cut(name, " ")
	if !ok {
		how, offset = "", name
	}
	seconds, err := strconv.Atoi(offset)
	if err != nil {
		panic("BUG: nothing is known by the name {" + name + "}")
	}
	at := f.began.UTC().Add(time.Duration(seconds) * time.Second)
	switch how {
	case "rfc850":
		return at.Format("Monday, 02-Jan-06 15:04:05 GMT")
	case "asctime":
		return at.Format(time.ANSIC)
	case "lower":
		return strings.ToLower(at.Format(http.TimeFormat))
	case "zone":
		return strings.Replace(at.Format(http.TimeFormat), "GMT", "EST", 1)
	}
	return at.Format(http.TimeFormat)
}

// serve is the origin: HTTP/1.1 by hand, so that it can say what it likes.
func (f *cacheFront) serve(r *bufio.Reader, c net.Conn) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		payload, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if !f.respond(c, req, string(payload)) {
			return
		}
	}
}

// respond answers one request; false: the connection ends.
func (f *cacheFront) respond(c net.Conn, req *http.Request, payload string) bool {
	if req.URL.Path == "/campaign" {
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(campaignPage), campaignPage)
		return err == nil
	}
	f.mu.Lock()
	if !strings.HasPrefix(req.RequestURI, f.scene.path+"/") { // late, from behind a case that is over
		f.mu.Unlock()
		return false
	}
	f.asked = append(f.asked, req)
	script, given, open := f.step.script, givenAnswer{step: f.index, arrival: len(f.asked), scene: f.scene}, f.open
	f.mu.Unlock()
	<-open
	if !script.given { // it was not to be asked
		script = cacheScript{status: 200, header: []string{"Cache-Control: no-store"}}
	}
	if script.ends == "down" || given.arrival <= script.refusals {
		return false
	}
	f.clock.move(script.took)
	return f.write(c, req, &script, &given)
}

// write sends what the script says.
func (f *cacheFront) write(c net.Conn, req *http.Request, script *cacheScript, given *givenAnswer) bool {
	given.status, given.text = script.status, given.scene.fill(script.text)
	if given.text == "" && !script.noText && hasBody(script.status) {
		given.text = fmt.Sprintf("answer %s of %s", given.name(), given.scene.path)
	}
	body, extra := given.text, []string(nil)
	switch from, to := rangeOf(req); {
	case script.onCondition && isConditional(req), script.honest && given.matches(req, script.header):
		given.status, given.partial, body = 304, true, ""
	case script.parts && to > 0 && to < len(body):
		given.status, given.partial = 206, true
		extra = append(extra, fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, to, len(body)))
		body = body[from : to+1]
	}
	f.mu.Lock()
	f.given = append(f.given, *given)
	f.mu.Unlock()
	var out strings.Builder
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\n", given.status, cmp.Or(http.StatusText(given.status), "Unknown"))
	for _, line := range append(f.defaults(script, given), extra...) {
		out.WriteString(line + "\r\n")
	}
	switch {
	case !hasBody(given.status):
	case script.chunked:
		out.WriteString("Transfer-Encoding: chunked\r\n")
		body = chunks(body, script)
	case script.ends != "close":
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(body))
	}
	out.WriteString("\r\n")
	if req.Method != "HEAD" {
		if script.ends == "cut" {
			body = body[:len(body)/2]
		}
		out.WriteString(body)
	}
	_, err := io.WriteString(c, out.String())
	return err == nil && script.ends == ""
}

func hasBody(status int) bool { return status >= 200 && status != 204 && status != 304 }

// defaults are the script's lines and those that every answer has.
func (f *cacheFront) defaults(script *cacheScript, given *givenAnswer) []string {
	var lines []string
	for _, line := range script.header {
		if line[0] != '-' {
			lines = append(lines, given.scene.fill(line))
		}
	}
	add := func(name, value string) {
		named := func(line string) bool {
			return strings.HasPrefix(strings.ToLower(strings.TrimPrefix(line, "-"))+":", strings.ToLower(name)+":")
		}
		if !slices.ContainsFunc(script.header, named) {
			lines = append(lines, name+": "+value)
		}
	}
	add("Date", f.clock.Now().UTC().Format(http.TimeFormat))
	if given.status != 304 {
		add("X-Answer", given.name())
		if hasBody(given.status) {
			add("Content-Type", "text/plain")
		}
	}
	return lines
}

// chunks packs a body into two chunks, the last of which a cut takes away.
func chunks(body string, script *cacheScript) string {
	half := len(body) / 2
	packed := ""
	for _, part := range []string{body[:half], body[half:]} {
		if part != "" {
			packed += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
		}
	}
	packed += "0\r\n"
	if script.trailer != "" {
		packed += script.trailer + "\r\n"
	}
	return packed + "\r\n"
}

// matches reports whether a request's condition holds for an answer with these lines, by
// the origin's own word: its validators are compared as they are written.
func (g *givenAnswer) matches(req *http.Request, lines []string) bool {
	value := func(name string) string {
		for _, line := range lines {
			if after, ok := strings.CutPrefix(line, name+": "); ok {
				return g.scene.fill(after)
			}
		}
		return ""
	}
	if asked := strings.Join(req.Header["If-None-Match"], ", "); asked != "" {
		return value("ETag") != "" && strings.Contains(asked, value("ETag"))
	}
	return value("Last-Modified") != "" && value("Last-Modified") == req.Header.Get("If-Modified-Since")
}

// rangeOf reads a range of the form bytes=2-4; 0, 0 for any other.
func rangeOf(req *http.Request) (from, to int) {
	if n, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &from, &to); n != 2 || err != nil {
		return 0, 0
	}
	return from, to
}
