package rewrite

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sedge-proxy/sedge/decision"
)

// comparison is one edit on one page, done by this package and by lol-html.
type comparison struct {
	page     *lolPage
	view     *lolView // as lol-html saw the page
	edit     decision.Edit
	list     [][]part
	standard map[*extent]bool // what the selector matches in the standard's tree
	lol      map[int]bool     // what it matches for lol-html, by token
	reopened bool             // formatting elements that the standard opens again explain the difference
	ours     result
	theirs   lolAnswer
}

// compare runs an edit here and holds the outcome against lol-html's. It returns
// the classes of what differs, and what no class explains.
func compare(t testing.TB, p *lolPage, e decision.Edit, theirs lolAnswer) (classes []string, problem string) {
	t.Helper()
	program, err := Compile(planned(e))
	if err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	ours := rewrite(t, program, p.src, Limits{Encoding: EncodingUTF8}, nil)
	if theirs.problem == "" && ours.out == theirs.out {
		return nil, ""
	}
	list, err := parseSelector(e.Select)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{page: p, view: p.lol, edit: e, list: list, standard: p.standard.matches(list), lol: p.lol.matches(list), ours: ours, theirs: theirs}
	if problem := c.unpredicted(); problem != "" {
		return nil, problem
	}
	return c.classes()
}

// unpredicted holds both outcomes against what they have to be: ours against the
// standard's tree, lol-html's against tags that nest as they are written. So no
// class can hide a difference that it does not explain to the byte.
func (c *comparison) unpredicted() string {
	if c.theirs.problem != "" {
		if !strings.Contains(c.theirs.problem, "ambiguous") {
			return "lol-html: " + c.theirs.problem
		}
	} else if want := c.predict(); c.theirs.out != want {
		return "lol-html does not nest tags as written: " + difference(c.theirs.out, want)
	}
	switch {
	case c.ours.bailed == BailedAmbiguous && c.theirs.problem != "":
		return ""
	case c.ours.bailed != NotBailed:
		return "bailed: " + string(c.ours.bailed)
	case c.page.standard.lost != "":
		return "the tree cannot be mapped to the page: " + c.page.standard.lost
	}
	problem := ""
	if c.edit.Op == decision.OpSetAttribute || c.edit.Op == decision.OpRemoveAttribute {
		problem = c.unpredictedTags()
	} else if want := c.page.standard.render(c.standard, c.edit); c.ours.out != want {
		problem = "not what the standard's tree asks for: " + difference(c.ours.out, want)
	}
	if problem != "" && c.page.standard.copies {
		c.reopened = true // a difference to the tree that the package's documentation names
		return ""
	}
	return problem
}

// predict is what lol-html has to make of the page. Some start tags it fails to see
// behind an end tag, depending on how it happens to scan; these are found by trying.
func (c *comparison) predict() string {
	want := c.view.render(c.lol, c.edit)
	for _, at := range c.page.lol.unsure {
		if want == c.theirs.out {
			return want
		}
		unseen := map[int]bool{at: true}
		maps.Copy(unseen, c.view.unseen)
		view, lol, without := c.without(unseen)
		if common(without, c.theirs.out) > common(want, c.theirs.out) {
			c.view, c.lol, want = view, lol, without
		}
	}
	if want == c.theirs.out || len(c.page.lol.unsure) > maxUnsure {
		return want
	}
	for set := range 1 << len(c.page.lol.unsure) { // one may show only together with another
		unseen := make(map[int]bool)
		for i, at := range c.page.lol.unsure {
			if set>>i&1 != 0 {
				unseen[at] = true
			}
		}
		if view, lol, without := c.without(unseen); without == c.theirs.out {
			c.view, c.lol = view, lol
			return without
		}
	}
	return want
}

// maxUnsure is up to how many tags all combinations are tried.
const maxUnsure = 10

// without is what lol-html makes of the page if it does not see some tags.
func (c *comparison) without(unseen map[int]bool) (view *lolView, matched map[int]bool, out string) {
	view = newLolView(c.page.src, unseen)
	matched = view.matches(c.list)
	return view, matched, view.render(matched, c.edit)
}

// common is how long the common beginning of two texts is.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n == len(a) && n == len(b) {
		n++
	}
	return n
}

// unpredictedTags checks that of our output only the tags differ from the page that
// the standard's tree matches, and that these mean what the edit asks for.
func (c *comparison) unpredictedTags() string {
	rest := c.ours.out
	for i, tok := range c.page.standard.tokens {
		x := c.page.standard.byToken[i]
		if x == nil || !c.standard[x] {
			if !strings.HasPrefix(rest, tok.raw) {
				return fmt.Sprintf("not what the standard's tree asks for, at token %d: got %.200q, want %.200q", i, rest, tok.raw)
			}
			rest = rest[len(tok.raw):]
			continue
		}
		z := html.NewTokenizer(strings.NewReader(rest))
		z.Next()
		raw := string(z.Raw())
		rest = rest[len(raw):]
		if got, want := meaning(raw, decision.Edit{}), meaning(tok.raw, c.edit); got != want {
			return fmt.Sprintf("tag %.300q became %.300q, which means %s, not %s", tok.raw, raw, got, want)
		}
	}
	if rest != "" {
		return fmt.Sprintf("more than the standard's tree asks for: %.200q", rest)
	}
	return ""
}

// meaning is what a browser reads in a start tag, after an edit.
func meaning(raw string, e decision.Edit) string {
	z := html.NewTokenizer(strings.NewReader(raw))
	z.Next()
	tok := z.Token()
	var attrs []html.Attribute
	for _, a := range tok.Attr { // of several of one name the first counts
		if !slices.ContainsFunc(attrs, func(b html.Attribute) bool { return a.Key == b.Key }) {
			attrs = append(attrs, a)
		}
	}
	i := slices.IndexFunc(attrs, func(a html.Attribute) bool { return a.Key == lower(e.Name) })
	switch {
	case e.Op == decision.OpRemoveAttribute && i >= 0:
		attrs = slices.Delete(attrs, i, i+1)
	case e.Op == decision.OpSetAttribute && i >= 0:
		attrs[i].Val = e.Value
	case e.Op == decision.OpSetAttribute:
		attrs = append(attrs, html.Attribute{Key: lower(e.Name), Val: e.Value})
	}
	return fmt.Sprintf("%s %q closed=%t", tok.Data, attrs, tok.Type == html.SelfClosingTagToken)
}

// tally counts what was compared.
type tally struct {
	compared, equal int
	byClass         map[string]int
}

func newTally() *tally { return &tally{byClass: make(map[string]int)} }

func (n *tally) add(classes []string) {
	n.compared++
	if len(classes) == 0 {
		n.equal++
	}
	for _, name := range classes {
		n.byClass[name]++
	}
}

func (n *tally) report(t *testing.T) {
	t.Logf("%d comparisons, %d equal to the byte", n.compared, n.equal)
	for _, c := range differences {
		t.Logf("%6d  %s (%s)", n.byClass[c.name], c.name, c.section)
	}
}

// soaking reports whether the long version of the test was asked for.
func soaking() bool { return os.Getenv("SEDGE_SOAK") == "1" }

// firstSeed is the number of the first random page. SEDGE_SEED sets it, to compare
// other pages or to compare some once more.
func firstSeed(t *testing.T) int {
	t.Helper()
	given := os.Getenv("SEDGE_SEED")
	if given == "" {
		return 0
	}
	seed, err := strconv.Atoi(given)
	if err != nil {
		t.Fatalf("SEDGE_SEED: %v", err)
	}
	return seed
}

// TestAgainstLolHTML does the same edits here and with the real lol-html, on real
// pages and on random ones.
func TestAgainstLolHTML(t *testing.T) {
	lol := startLolHTML(t)
	total, seed := newTally(), firstSeed(t)
	perPage, rounds := 12, 800
	if soaking() {
		perPage, rounds = 400, 50_000
	}
	t.Run("real pages", func(t *testing.T) {
		for name, page := range realPages(t) {
			p := newLolPage(t, string(page))
			random := rand.New(rand.NewPCG(uint64(len(page)), uint64(7+seed)))
			edits := make([]decision.Edit, perPage)
			for i := range edits {
				edits[i] = p.drawEdit(random)
			}
			for i, a := range lol.ask(t, p.src, edits) {
				classes, problem := compare(t, p, edits[i], a)
				if problem != "" {
					t.Errorf("%s, %+v: %s", name, edits[i], problem)
				}
				total.add(classes)
			}
		}
	})
	t.Run("random pages", func(t *testing.T) {
		draw := anyPage()
		for n := seed; n < seed+rounds; n++ {
			p := newLolPage(t, draw.Example(n))
			random := rand.New(rand.NewPCG(uint64(n), 7))
			edits := make([]decision.Edit, 8)
			for i := range edits {
				edits[i] = p.drawEdit(random)
			}
			for i, a := range lol.ask(t, p.src, edits) {
				classes, problem := compare(t, p, edits[i], a)
				if problem != "" {
					t.Errorf("page %d, %+v on %s: %s", n, edits[i], p.src, problem)
				}
				total.add(classes)
			}
		}
	})
	t.Logf("%d random pages; SEDGE_SEED=%d draws them again", rounds, seed)
	total.report(t)
	for _, c := range differences {
		if total.byClass[c.name] == 0 {
			t.Errorf("no difference is of the class %s; it should go", c.name)
		}
	}
}
