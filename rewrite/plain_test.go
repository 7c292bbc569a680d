package rewrite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestPlainTags edits soup of all known elements whole, in chunks and byte by byte:
// a page that comes byte by byte never has a whole tag in a chunk, so passPlain deals
// with none of it.
func TestPlainTags(t *testing.T) {
	pages, seed := 1500, uint64(1)
	if s := os.Getenv("SEDGE_SOUPS"); s != "" { // that many, others each time
		var err error
		if pages, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		seed = rand.Uint64()
	}
	for i := range pages {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		edits := soupEdits(random)
		program, err := Compile(edits)
		if err != nil {
			t.Fatalf("%+v: %v", edits, err)
		}
		page := tagSoup(random)
		limits := Limits{}
		switch random.IntN(8) {
		case 0:
			limits.Depth = 2 + random.IntN(12)
		case 1:
			limits.Memory = decision.Size(16 + random.IntN(200))
		case 2:
			limits.Encoding = EncodingUTF8
		}
		if random.IntN(3) == 0 {
			limits.Policy = ParsePolicy([]string{oneOf(random, soupPolicies)}, nil, "http://a.example/")
		}
		slow := soupRun(t, program, page, limits, func() int { return 1 })
		for kind, size := range map[string]func() int{"whole": nil, "in chunks": func() int { return 1 + random.IntN(40) }} {
			if got := soupRun(t, program, page, limits, size); got != slow {
				t.Fatalf("seed %d, %d: %q\n%s: %s\nbyte by byte: %s\nedits: %+v\nlimits: %+v", seed, i, page, kind, got, slow, edits, limits)
			}
		}
		compiled, _ := CompilePage([]byte(page), limits)
		if compiled == nil {
			continue
		}
		s := compiled.Splice(program, Given{limits.Policy, limits.Values})
		if s == nil {
			continue
		}
		if got := fmt.Sprintf("%q %v %q %v %v", s.AppendTo(nil), s.Matches(), s.Bailed(), s.Conflicts(), s.Blocked()); got != slow {
			t.Fatalf("seed %d, %d: %q\nspliced: %s\nbyte by byte: %s\nedits: %+v\nlimits: %+v", seed, i, page, got, slow, edits, limits)
		}
	}
}

func soupRun(t *testing.T, p *Program, page string, limits Limits, size func() int) string {
	var out strings.Builder
	r := p.NewRewriter(&out, limits)
	defer r.Release()
	for rest := page; rest != ""; {
		n := len(rest)
		if size != nil {
			n = min(n, size())
		}
		chunk := []byte(rest[:n])
		if _, err := r.Write(chunk); err != nil {
			t.Fatal(err)
		}
		clear(chunk) // so that bytes kept beyond Write show
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q %v %q %v %v", out.String(), r.Matches(), r.Bailed(), r.Conflicts(), r.Blocked())
}

var soupPolicies = []string{
	"script-src 'nonce-abc'", "script-src 'self'; style-src 'self'", "default-src 'none'", "script-src 'unsafe-inline'",
}

// tagSoup draws tags of a few of all known elements, so that they meet often.
func tagSoup(random *rand.Rand) string {
	names := make([]string, 2+random.IntN(9))
	for i := range names {
		names[i] = soupName(random)
	}
	var b strings.Builder
	b.WriteString(oneOf(random, []string{"", "<!doctype html>", "<!doctype html>", "<!doctype html><head><title>t</title></head><body>", "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 3.2//EN\">", "<body>", "\xef\xbb\xbf<!doctype html>"}))
	var open []string
	for range random.IntN(60) {
		switch random.IntN(10) {
		case 0:
			b.WriteString(oneOf(random, []string{"text", " ", "a &lt; b", "<", "</", "</>", "<!-- <p> -->", "<!x>", "<?y?>", "<![CDATA[<b>]]>", "\n", "é", "<meta charset=utf-8>", "<meta charset=latin1>",
				"<base href=//b.example>", `<meta http-equiv=Content-Security-Policy content="script-src 'nonce-m'">`, "<br>", "<br/>", "<p><", "<b class=a><p>x</b></p></b>", "<a><div></a><li></div></a>", "<form><div></form><p></div></form>", "<!", "</p", "1<2"}))
		case 1, 2:
			b.WriteString("</" + soupCase(random, oneOf(random, names)) + oneOf(random, []string{">", ">", ">", " >", "/>", " a=b>"}))
		case 3, 4, 5:
			if len(open) > 0 {
				b.WriteString("</" + soupCase(random, open[len(open)-1]) + ">")
				open = open[:len(open)-1]
			}
		default:
			name := oneOf(random, names)
			b.WriteString("<" + soupCase(random, name))
			for range random.IntN(3) {
				b.WriteString(oneOf(random, []string{" class=a", ` class="a b"`, " CLASS='b'", " id=x", " ID=y", ` href="/a?b=1&amp;c"`, " data-k=v", " title", "/", " /", " a=b/", ` type=hidden`, " class=c class=a", " =", "\n", ` color=red`, ` encoding="text/html"`, " nonce=abc"}))
			}
			b.WriteString(oneOf(random, []string{">", ">", ">", ">", "/>", " >", " / >"}))
			open = append(open, name)
		}
		if random.IntN(3) == 0 {
			b.WriteString(oneOf(random, []string{"x", " ", "foo bar", "\n"}))
		}
	}
	b.WriteString(oneOf(random, []string{"", "", "", "<p", "</p", "<!--", "</body></html>"}))
	return b.String()
}

func soupName(random *rand.Rand) string {
	if random.IntN(6) == 0 {
		return oneOf(random, []string{"x-y", "my-card", "p-", "divx", "h7", "b2", "é", "nosuch", "a:b", "svg:g", "path", "g"})
	}
	if random.IntN(2) == 0 {
		return oneOf(random, []string{"p", "div", "li", "ul", "ol", "a", "b", "h1", "h2", "span", "dd", "dt", "button", "table", "td", "tr", "select", "option", "svg", "template", "form", "frameset", "colgroup", "math", "mi", "nobr"})
	}
	return tagInfos[1+random.IntN(int(knownTags)-1)].name
}

func soupCase(random *rand.Rand, name string) string {
	switch random.IntN(8) {
	case 0:
		return strings.ToUpper(name)
	case 1:
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

func soupSelector(random *rand.Rand) string {
	var b strings.Builder
	for i := range 1 + random.IntN(3) {
		if i > 0 {
			b.WriteString(oneOf(random, []string{" ", " > ", " + ", " ~ ", ", "}))
		}
		s := oneOf(random, []string{"", "", "*", "p", "div", "li", "a", "b", "h1", "span", "td", "x-y", "MY-CARD", "button", "ul", "dd", "img", "br", "svg", "path", "script", "meta", "nosuch", "body"})
		if random.IntN(4) == 0 {
			s = tagInfos[1+random.IntN(int(knownTags)-1)].name
		}
		s += oneOf(random, []string{"", "", "", ".a", ".b", "#x", "[class]", `[href*="/a"]`, `[href*="b=1"]`, `[class^=a]`, ":first-child", ":nth-child(2n)", ":nth-child(3)",
			":nth-of-type(2n+1)", ":first-of-type", ":not(.a)", ":not(p, div)", ":is(p, li, .b)", ":nth-of-type(2):not([id])"})
		if s == "" {
			s = "*"
		}
		b.WriteString(s)
	}
	return b.String()
}

func soupEdits(random *rand.Rand) []decision.PlannedEdit {
	edits := make([]decision.PlannedEdit, 1+random.IntN(5))
	for i := range edits {
		e := decision.Edit{Select: soupSelector(random), Op: oneOf(random, []decision.Op{
			decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend, decision.OpReplace, decision.OpSetInner, decision.OpRemove, decision.OpUnwrap,
			decision.OpSetAttribute, decision.OpRemoveAttribute, decision.OpAddClass, decision.OpRemoveClass, decision.OpReplaceText,
		})}
		switch e.Op {
		case decision.OpRemove, decision.OpUnwrap:
		case decision.OpSetAttribute:
			e.Name, e.Value = oneOf(random, []string{"class", "title", "src", "onclick"}), oneOf(random, []string{"v", "a b"})
			if e.Name == "title" {
				e.Value += `{{trait "n" "f"}}`
			}
		case decision.OpRemoveAttribute:
			e.Name = oneOf(random, []string{"class", "id", "href"})
		case decision.OpAddClass, decision.OpRemoveClass:
			e.Value = oneOf(random, []string{"a", "b", "new"})
		case decision.OpReplaceText:
			e.Pattern, e.Text = oneOf(random, []string{"x", "[a-f]o+", "text", "."}), "é$0"
		default:
			e.HTML = fmt.Sprintf(oneOf(random, []string{"<!--%d-->", "<i class=a>%d</i>", "é%d", "<script>%d</script>", "%d{{trait \"n\" \"f\"}}"}), i)
		}
		e.Required = random.IntN(12) == 0
		edits[i] = decision.PlannedEdit{Edit: e, Apply: random.IntN(6) > 0, Experience: strconv.Itoa(random.IntN(2))}
	}
	return edits
}
