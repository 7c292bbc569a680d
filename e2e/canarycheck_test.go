package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// visit is one request and all that its answer may depend on.
type visit struct {
	who                *canaryVisitor // nil: a stranger
	how                string         // person, bot, gpc (they want no profile), script or stranger
	method             string
	scheme, host, path string
	query              string
	area, kind, name   string // x is named by experiences, o is not, plain is a plain route
	fields             [][2]string
	body               string
	before             *order // what was in force when it was asked
}

func (v *visit) String() string {
	who := "a stranger"
	if v.who != nil {
		who = fmt.Sprintf("%s %+v", v.who.name, v.who.may)
	}
	return fmt.Sprintf("%s as a %s: %s %s://%s%s?%s %q", who, v.how, v.method, v.scheme, v.host, v.path, v.query, v.fields)
}

func (v *visit) field(name string) string {
	for _, f := range v.fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

// ask is what the origin's page depends on.
func (v *visit) ask(version int64) canaryAsk {
	k := canaryPages[v.kind]
	a := canaryAsk{kind: v.kind, scheme: v.scheme, host: v.host, path: v.path, query: v.query, version: version}
	if v.who != nil && (k.echo || k.gives || k.moved) {
		a.cookie = v.who.sid
	}
	if k.vary != "" && k.vary != "Cookie" {
		a.vary = v.field(k.vary)
	}
	if k.members {
		a.permission = v.field("Authorization")
	}
	return a
}

// canaryAnswer is an answer as far as it was read.
type canaryAnswer struct {
	status int
	header http.Header
	body   []byte // as it came
	whole  bool
	text   string // unpacked
	after  *order // what was in force when it had come
}

// order is what the node is told to be at a moment.
type order struct {
	applied, written int    // editions of the configuration: in force for sure, and the last that can be
	off              string // the kill switch that is set
	settled          bool   // nothing is being changed
}

// canaryCheck finds in answers what must not be there. It counts what it saw, so that
// a canary which is shown nothing is noticed.
type canaryCheck struct {
	t *testing.T

	mu       sync.Mutex
	answers  int
	complete int
	status   map[int]int
	cached   map[string]int // by the first word of Cache-Status
	secrets  int
	own      map[string]int // secrets found that are the asker's, by kind
	filled   map[string]int
	blank    map[string]int
	exact    int // pages that were compared byte for byte
	parts    int
	known    map[string]*canaryPage // by URL and validator
	tags     map[string][]string    // validators by URL, anybody's
	minted   map[string]bool
	failures int
}

// canaryPage is what is known of a page by its validator.
type canaryPage struct {
	tokens []string
	places map[string]string
}

func newCanaryCheck(t *testing.T) *canaryCheck {
	return &canaryCheck{
		t: t, status: map[int]int{}, cached: map[string]int{}, own: map[string]int{}, filled: map[string]int{}, blank: map[string]int{},
		known: map[string]*canaryPage{}, tags: map[string][]string{}, minted: map[string]bool{},
	}
}

const maxCanaryFailures = 15

func (c *canaryCheck) fail(v *visit, a *canaryAnswer, format string, args ...any) {
	if c.failures++; c.failures > maxCanaryFailures {
		return
	}
	c.t.Errorf("%s\n%s\nbefore %+v, after %+v\n%d %v, whole %t, %d bytes: %s",
		fmt.Sprintf(format, args...), v, *v.before, *a.after, a.status, a.header, a.whole, len(a.text), tail(a.text, 1500))
}

// see checks one answer.
func (c *canaryCheck) see(v *visit, a *canaryAnswer) {
	text, err := unpackAs(a.header.Get("Content-Encoding"), a.body)
	const hyphen = `\u002D` // as slots in JSON are escaped
	a.text = strings.ReplaceAll(string(text), hyphen, "-")
	for cut := len(hyphen) - 1; cut > 0 && !a.whole; cut-- {
		if before, ok := strings.CutSuffix(a.text, hyphen[:cut]); ok { // it was cut in the middle of one
			a.text = before
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers++
	c.status[a.status]++
	c.cached[cacheWord(a.header)]++
	if a.whole {
		c.complete++
	}
	if err != nil && a.whole && v.method != http.MethodHead && len(a.body) > 0 && a.status != http.StatusPartialContent {
		c.fail(v, a, "the body cannot be unpacked: %v", err)
	}
	c.checkSecrets(v, a, canaryTokens(a.text), !a.whole || a.status == http.StatusPartialContent)
	for name, values := range a.header {
		for _, value := range values {
			tokens := canaryTokens(value)
			if name != "Set-Cookie" && name != "Location" && len(tokens) > 0 {
				c.fail(v, a, "a secret in the header %s", name)
			}
			c.checkSecrets(v, a, tokens, false)
		}
	}
	c.checkCookies(v, a)
	switch v.area {
	case "identify":
	case "me":
		c.checkMe(v, a)
	default:
		c.checkControl(v, a)
		c.checkStored(v, a)
		c.checkPage(v, a)
	}
}

// cacheWord is the first word of what we say in Cache-Status.
func cacheWord(h http.Header) string {
	for _, value := range h.Values("Cache-Status") {
		if rest, ok := strings.CutPrefix(value, "sedge; "); ok {
			word, _, _ := strings.Cut(rest, ";")
			return word
		}
	}
	return "none"
}

// checkSecrets finds those that are not the asker's.
func (c *canaryCheck) checkSecrets(v *visit, a *canaryAnswer, tokens []string, cut bool) {
	for i, token := range tokens {
		c.secrets++
		kind, _, _ := strings.Cut(token[len(canaryPrefix):], "-")
		if c.isOwn(v, a, kind, token) {
			c.own[kind]++
			continue
		}
		// A part of a page may end in the middle of a secret.
		if cut && i == len(tokens)-1 && len(token) < len(canaryPrefix)+40 && strings.HasSuffix(a.text, token) {
			continue
		}
		c.fail(v, a, "LEAK: %q is not the asker's", token)
	}
}

func (c *canaryCheck) isOwn(v *visit, a *canaryAnswer, kind, token string) bool {
	who := v.who
	switch kind {
	case "cookie":
		return who != nil && token == who.sid
	case "header":
		return token == v.field("X-Secret")
	case "query":
		return strings.Contains(v.query, token)
	case "pass":
		return strings.HasSuffix(v.field("Authorization"), token)
	case "trait":
		return v.how == "person" && slices.ContainsFunc(who.may, func(s statement) bool { return s.trait == token })
	case "coupon":
		if v.how == "stranger" {
			who = new(canaryVisitor)
			who.takeCookie(mintedIn(a.header))
		}
		return v.how != "bot" && v.how != "gpc" && token == who.coupon()
	case "segment":
		for _, tier := range v.tiers() {
			if n := editionIn(token); tier != "" && token == segmentSecret(tier, n) && within(v, a, n) {
				return true
			}
		}
		return false
	case "offer":
		return slices.ContainsFunc(v.tiers(), func(tier string) bool { return token == canaryPrefix+"offer-"+tier })
	case "edition", "toggle":
		n := editionIn(token)
		return token == fmt.Sprintf("%s%s-%d", canaryPrefix, kind, n) && within(v, a, n) && (kind != "toggle" || n%2 == 1)
	case "split", "held":
		return v.how == "person" || v.how == "stranger" // whose it is, checkPlaces finds
	}
	return false
}

// statements are what may hold of the asker, of whom more may be known than they are shown for.
func (v *visit) statements() []statement {
	if v.who == nil || v.how == "bot" || v.how == "gpc" {
		return []statement{{}}
	}
	return v.who.may
}

// tiers are the segments that the asker may be in.
func (v *visit) tiers() (tiers []string) {
	for _, s := range v.statements() {
		tiers = append(tiers, s.tier)
	}
	return tiers
}

// editionIn reads the number at the end of a secret, or behind a segment's name.
func editionIn(token string) int {
	parts := strings.Split(token, "-")
	n, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil {
		return -1
	}
	return n
}

func within(v *visit, a *canaryAnswer, edition int) bool {
	return v.before.applied <= edition && edition <= a.after.written
}

// segmentSecret is what the edits for a segment show in an edition of the configuration.
func segmentSecret(tier string, edition int) string {
	return fmt.Sprintf("%ssegment-%s-%d", canaryPrefix, tier, edition)
}

const visitorCookie = "sedge_vid="

// mintedIn returns the visitor cookie that an answer gives, "" if it gives none.
func mintedIn(h http.Header) string {
	for _, cookie := range h.Values("Set-Cookie") {
		if value, ok := strings.CutPrefix(cookie, visitorCookie); ok {
			value, _, _ = strings.Cut(value, ";")
			return value
		}
	}
	return ""
}

// checkCookies: nobody gets an id who has one, and no two get the same.
func (c *canaryCheck) checkCookies(v *visit, a *canaryAnswer) {
	value := mintedIn(a.header)
	if value == "" {
		return
	}
	control := strings.Join(a.header.Values("Cache-Control"), ",")
	switch {
	case v.who != nil && v.who.vid != "":
		c.fail(v, a, "LEAK: a visitor with an id gets another")
	case c.minted[value]:
		c.fail(v, a, "LEAK: two visitors get the same id")
	case !strings.Contains(control, "private") && !strings.Contains(control, "no-store") || strings.Contains(control, "public"):
		c.fail(v, a, "an id in an answer that others may keep")
	}
	c.minted[value] = true
}

// sure reports whether it is known what was in force for the answer.
func (a *canaryAnswer) sure(v *visit) bool { return v.before == a.after && v.before.settled }

// plain reports whether the answer is surely, or perhaps, not personalized at all.
func (a *canaryAnswer) plain(v *visit) (surely, perhaps bool) {
	named := v.before.names(v)
	return a.sure(v) && !named, !a.sure(v) || !named
}

// names reports whether an experience names the page that is not turned off. Those of
// the plugins with processes are for HTML alone.
func (o *order) names(v *visit) bool {
	switch o.off {
	case "everything", "route/site":
		return false
	case "plugin/content":
		return v.area == "x" && canaryPages[v.kind].body == "" && v.name != "p1" && v.name != "p2"
	}
	return v.area == "x"
}

// checkControl: each answer of a page that an experience names says that nobody may
// keep it for others, and no other answer is changed.
func (c *canaryCheck) checkControl(v *visit, a *canaryAnswer) {
	if v.method != http.MethodGet && v.method != http.MethodHead {
		return
	}
	got := strings.Join(a.header.Values("Cache-Control"), ", ")
	if a.status >= 500 && got == "no-store" {
		return // of our own
	}
	surely, perhaps := a.plain(v)
	private := strings.HasPrefix(got, "private, no-cache")
	if v.area == "x" && !surely {
		if !private && !perhaps {
			c.fail(v, a, "Cache-Control %q", got)
		}
		return
	}
	want := canaryPages[v.kind].control
	if canaryPages[v.kind].members && v.field("Authorization") == "" {
		want = "no-store"
	}
	if mintedIn(a.header) != "" {
		want = strings.TrimPrefix(want+", private", ", ")
		if strings.Contains(got, "private") || strings.Contains(got, "no-store") {
			return
		}
	}
	if got != want {
		c.fail(v, a, "Cache-Control %q, want the origin's %q", got, want)
	}
}

// checkStored: what one visitor alone may see is not kept for anybody.
func (c *canaryCheck) checkStored(v *visit, a *canaryAnswer) {
	status := strings.Join(a.header.Values("Cache-Status"), ", ")
	k := canaryPages[v.kind]
	stored := strings.Contains(status, "stored") && !strings.Contains(status, "stored=?0") && !k.breaks // which the head cannot know
	if !k.holdable && (stored || strings.Contains(status, "hit")) {
		c.fail(v, a, "a page that must not be kept: Cache-Status %q", status)
	}
}

func (c *canaryCheck) checkMe(v *visit, a *canaryAnswer) {
	var me struct {
		Known   bool
		Segment string
	}
	if !a.whole || !a.sure(v) {
		return
	}
	if err := json.Unmarshal(a.body, &me); err != nil || a.status != http.StatusOK {
		c.fail(v, a, "me: %v", err)
		return
	}
	if !me.Known || !slices.Contains(v.tiers(), me.Segment) {
		c.fail(v, a, "LEAK: me is known %t in segment %q, want %q", me.Known, me.Segment, v.tiers())
	}
}

// checkPage compares a page with what the origin's should have become for the asker.
func (c *canaryCheck) checkPage(v *visit, a *canaryAnswer) {
	url := v.scheme + v.host + v.path + "?" + v.query
	tag := a.header.Get("ETag")
	if a.status == http.StatusNotModified {
		c.checkNotModified(v, a, url, tag)
		return
	}
	if tag != "" && a.whole && a.status == http.StatusOK && v.method == http.MethodGet {
		if tags := c.tags[url]; !slices.Contains(tags, tag) {
			c.tags[url] = append(tags[max(0, len(tags)-4):], tag)
		}
	}
	version, err := strconv.ParseInt(a.header.Get("X-Version"), 10, 64)
	if err != nil || v.method != http.MethodGet || !a.whole {
		return // of our own, or a part
	}
	ask := v.ask(version)
	want := ask.page()
	switch {
	case a.status == http.StatusUnauthorized:
		if ask.permission != "" {
			c.fail(v, a, "a member is refused")
		}
		return
	case a.status == http.StatusPartialContent:
		if _, perhaps := a.plain(v); v.area == "x" && v.how != "script" && !perhaps {
			c.fail(v, a, "a part of a page that is changed")
		}
		c.checkPart(v, a, want)
		return
	}
	page := &canaryPage{tokens: canaryTokens(a.text), places: map[string]string{}}
	rest := a.text
	if v.area == "x" {
		rest = c.takeApart(v, a, page)
	}
	if rest != want {
		c.fail(v, a, "the page is not the origin's: %s", difference(rest, want))
	}
	c.exact++
	if tag != "" {
		c.known[url+tag] = page
	}
	if v.area != "x" && canaryPages[v.kind].tag && a.status == http.StatusOK && tag != ask.tag(a.header.Get("Content-Encoding")) {
		c.fail(v, a, "ETag %s, want %s", tag, ask.tag(a.header.Get("Content-Encoding")))
	}
	c.checkPlaces(v, a, page.places)
}

// takeApart cuts what experiences put into a page out of it.
func (c *canaryCheck) takeApart(v *visit, a *canaryAnswer, page *canaryPage) (rest string) {
	switch canaryPages[v.kind].body {
	case "json":
		var data canaryData
		if err := json.Unmarshal([]byte(a.text), &data); err != nil {
			c.fail(v, a, "JSON: %v", err)
			return a.text
		}
		page.places["data"] = data.Secret
		was, err := json.Marshal(data.Secret)
		if err != nil {
			c.t.Error(err)
		}
		return strings.Replace(a.text, `"secret":`+string(was), `"secret":"nobody"`, 1)
	case "css":
		before, after, _ := strings.Cut(a.text, "\n.")
		name, after, _ := strings.Cut(after, " ")
		if name != "SEGMENT" {
			page.places["style"] = name
		}
		return before + "\n.SEGMENT " + after
	}
	rest = a.text
	for _, place := range places {
		begin := `<div id="` + place + `">`
		before, after, found := strings.Cut(rest, begin)
		inner, after, closed := strings.Cut(after, "</div>")
		if !found || !closed {
			if len(canaryPages[v.kind].body) == 0 && a.status == http.StatusOK {
				c.fail(v, a, "the page has no place %q", place)
			}
			continue
		}
		page.places[place] = inner
		rest = before + begin + "</div>" + after
	}
	return rest
}

// checkNotModified: who is told that their copy still holds must be meant by it.
func (c *canaryCheck) checkNotModified(v *visit, a *canaryAnswer, url, tag string) {
	sent := v.field("If-None-Match")
	if sent == "" && v.field("If-Modified-Since") == "" {
		c.fail(v, a, "304 without a condition")
	}
	_, perhaps := a.plain(v)
	if sent == "" && v.area == "x" && !perhaps {
		c.fail(v, a, "304 for a date, which knows nothing of the asker")
	}
	if tag != "" && sent != "" && !strings.Contains(sent, strings.TrimPrefix(tag, "W/")) {
		c.fail(v, a, "304 for a copy that the asker does not have")
	}
	if tag == "" && !strings.Contains(sent, ",") {
		tag = sent // the only copy that can be meant
	}
	page := c.known[url+tag]
	if page == nil {
		return
	}
	c.checkSecrets(v, a, page.tokens, false)
	c.checkPlaces(v, a, page.places)
}

func (c *canaryCheck) checkPart(v *visit, a *canaryAnswer, want string) {
	var from, to, size int
	if _, err := fmt.Sscanf(a.header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil {
		return // several parts
	}
	if size != len(want) || to >= size || a.text != want[from:to+1] {
		c.fail(v, a, "another part than asked for")
	}
	c.parts++
}

// checkPlaces compares what stands in the places of a page with what the asker should
// see. Whatever fails leaves a place as it was, so an empty one is only wrong if
// nothing can have failed.
func (c *canaryCheck) checkPlaces(v *visit, a *canaryAnswer, found map[string]string) {
	sure := a.sure(v) && len(v.statements()) == 1
	for place, got := range found {
		untouched := map[string]string{"data": "nobody"}[place]
		want := c.wanted(v, a, place, got)
		switch {
		case want == nil && got == untouched:
			continue
		case got == untouched:
			c.blank[place]++
			switch {
			case !sure || mayFail(place) || v.before.turnsOff(place, v.tiers()) || place == "toggle" && v.before.applied%2 == 0:
			case place == "held" && (v.who == nil || v.who.held == ""):
				if v.who != nil {
					v.who.held = heldOut
				}
			default:
				c.fail(v, a, "nothing stands at %q, want one of %q", place, want)
			}
		case !slices.Contains(want, got):
			c.fail(v, a, "LEAK: %q stands at %q, want one of %q", got, place, want)
		case sure && v.before.turnsOff(place, v.tiers()):
			c.fail(v, a, "%q stands at %q, which is off", got, place)
		default:
			c.filled[place]++
		}
	}
}

// mayFail reports whether a plugin of its own process fills the place.
func mayFail(place string) bool { return place == "coupon" || place == "offer" }

// turnsOff reports whether the kill switch leaves the place, or a visitor's part of it, as it was.
func (o *order) turnsOff(place string, tiers []string) bool {
	switch o.off {
	case "everything", "route/site", "experience/" + place:
		return true
	case "plugin/content":
		return !mayFail(place)
	case "plugin/coupons":
		return place == "coupon"
	case "plugin/offers":
		return place == "offer"
	case "experience/red":
		return (place == "segment" || place == "style") && slices.Equal(tiers, []string{"red"})
	}
	return false
}

// wanted lists what may stand at a place, nil for nothing.
func (c *canaryCheck) wanted(v *visit, a *canaryAnswer, place, got string) (want []string) {
	if a.status != http.StatusOK && a.status != http.StatusNotModified || v.how == "script" {
		return nil
	}
	or := func(value string) string {
		if value == "" || v.how == "bot" || v.how == "gpc" {
			return "nobody"
		}
		return value
	}
	who := v.who
	if who == nil {
		who = new(canaryVisitor)
		who.takeCookie(mintedIn(a.header))
	}
	_, query, _ := strings.Cut(v.query, "secret=")
	for _, stated := range v.statements() {
		tier, segment := stated.tier, stated.tier
		if segment == "" {
			segment = "none"
		}
		switch place {
		case "values":
			if strings.HasPrefix(v.name, "s") {
				want = append(want, fmt.Sprintf("<b>%s</b><i>%s</i><u>%s</u><s>%s</s><em>%s</em>", or(stated.trait), or(who.sid), or(v.field("X-Secret")), or(query), segment))
			}
		case "data":
			want = append(want, or(stated.trait)+" "+segment)
		case "segment", "style":
			if tier != "" {
				want = append(want, segmentSecret(tier, editionIn(got)))
				if got == "" {
					want[len(want)-1] = segmentSecret(tier, v.before.applied)
				}
			}
		case "edition", "toggle":
			if v.name == map[string]string{"edition": "p1", "toggle": "p3"}[place] {
				n := editionIn(got)
				if got == "" {
					n = v.before.applied
				}
				want = append(want, fmt.Sprintf("%s%s-%d", canaryPrefix, place, n))
			}
		case "offer":
			if tier != "" && (v.name == "p3" || v.name == "s1") {
				offer := canaryPrefix + "offer-" + tier
				want = append(want, `<a title="`+offer+`">for `+offer+`</a>`)
			} else if v.name == "p3" || v.name == "s1" {
				want = append(want, `<a title="for all">for all</a>`)
			}
		}
	}
	switch {
	case place == "coupon" && strings.HasPrefix(v.name, "s"):
		want = append(want, "<b>"+or(who.coupon())+"</b>")
	case place == "split" && v.name == "p2" && v.how != "bot" && v.how != "gpc":
		want = consistent(&who.arm, got, canaryPrefix+"split-a", canaryPrefix+"split-b")
	case place == "held" && v.name == "p2" && v.how != "bot" && v.how != "gpc":
		want = consistent(&who.held, got, canaryPrefix+"held")
	}
	return want
}

// heldOut stands for what is shown to whoever is held out.
const heldOut = "nothing"

// consistent narrows down what a visitor may see to what they saw first.
func consistent(first *string, got string, of ...string) []string {
	if *first == "" && got != "" {
		*first = got
	}
	switch *first {
	case "":
		return of
	case heldOut:
		return nil
	}
	return []string{*first}
}

// readBody reads up to a limit, 0 for none, and reports whether it was all.
func readBody(r io.Reader, limit int64) (body []byte, whole bool, err error) {
	if limit > 0 {
		body, err = io.ReadAll(io.LimitReader(r, limit))
		return body, err == nil && int64(len(body)) < limit, err
	}
	body, err = io.ReadAll(r)
	return body, err == nil, err
}
