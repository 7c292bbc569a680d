package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

func TestRequired(t *testing.T) {
	must := func(s string) decision.PlannedEdit {
		e := decision.PlannedEdit{Edit: shortEdit(t, s), Apply: true}
		e.Required = true
		return e
	}
	other := decision.PlannedEdit{Edit: shortEdit(t, "append p: X"), Apply: true}
	control := must("append em: X")
	control.Apply = false
	pad := strings.Repeat("y", 300)
	long := strings.Repeat("z", 500)
	for name, c := range map[string]struct {
		edits  []decision.PlannedEdit
		page   string
		memory decision.Size
		want   string
		reason Reason
	}{
		"matches":         {[]decision.PlannedEdit{must("append em: Y"), other}, "<p>a</p><em>b</em><p>c</p>", 0, "<p>aX</p><em>bY</em><p>cX</p>", NotBailed},
		"matches nothing": {[]decision.PlannedEdit{must("append em: Y"), other}, "<p>a</p><b c", 0, "<p>a</p><b c", BailedRequired},
		"one of two":      {[]decision.PlannedEdit{must("append em: Y"), must("append p: Z"), other}, "<p>a</p>", 0, "<p>a</p>", BailedRequired},
		"not applied":     {[]decision.PlannedEdit{control, other}, "<p>a</p>", 0, "<p>aX</p>", NotBailed},
		"within limit":    {[]decision.PlannedEdit{must("append em: Y"), other}, "<p>a</p>" + pad + "<em>b</em>" + pad, 400, "<p>aX</p>" + pad + "<em>bY</em>" + pad, NotBailed},
		"beyond limit":    {[]decision.PlannedEdit{must("append em: Y"), other}, "<p>a</p>" + pad + pad + "<em>b</em>", 400, "<p>a</p>" + pad + pad + "<em>b</em>", BailedRequired},
		"bails before":    {[]decision.PlannedEdit{must("append em: Y"), other}, "<p>a</p><b title='" + long + "'><em>b</em>", 400, "<p>a</p><b title='" + long + "'><em>b</em>", BailedRequired},
		"bails behind":    {[]decision.PlannedEdit{must("append em: Y"), other}, "<em>b</em><b title='" + long + "'><p>a</p>", 400, "<em>bY</em><b title='" + long + "'><p>a</p>", BailedMemory},
		"in a text":       {[]decision.PlannedEdit{must("append em: Y"), {Edit: replaceText("p", "a", "x"), Apply: true}}, "<p>a a < b", 0, "<p>a a < b", BailedRequired},
		"empty page":      {[]decision.PlannedEdit{must("append em: Y")}, "", 0, "", BailedRequired},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := Compile(c.edits)
			if err != nil {
				t.Fatal(err)
			}
			limits := Limits{Memory: c.memory, Encoding: EncodingUTF8}
			whole := rewrite(t, program, c.page, limits, nil)
			if whole.out != c.want || whole.bailed != c.reason {
				t.Errorf("got %q (%s)\nwant %q (%s)", whole.out, whole.bailed, c.want, c.reason)
			}
			for chunking, size := range chunkings(4) {
				if got := rewrite(t, program, c.page, limits, size); got.out != whole.out || got.bailed != whole.bailed {
					t.Errorf("%s: got %+v, want %+v", chunking, got, whole)
				}
			}
			checkPage(t, c.page, c.edits, limits)
		})
	}
}

// TestRequiredHoldsThePage checks that nothing leaves before the required edits
// have matched, that everything does then, and that what is held is bounded.
func TestRequiredHoldsThePage(t *testing.T) {
	e := shortEdit(t, "append em: Y")
	e.Required = true
	program := compile(t, e)
	var out bytes.Buffer
	r := program.NewRewriter(&out, inUTF8)
	defer r.Release()
	for _, step := range [][2]string{{"<p>a", ""}, {"<em", ""}, {">", "<p>a<em>"}, {"b", "<p>a<em>b"}} {
		if _, err := io.WriteString(r, step[0]); err != nil {
			t.Fatal(err)
		}
		if out.String() != step[1] {
			t.Errorf("after %q: got %q, want %q", step[0], out.String(), step[1])
		}
	}
	e = shortEdit(t, "before p: "+strings.Repeat("x", 1000))
	late := shortEdit(t, "append em: Y")
	late.Required = true
	program = compile(t, e, late)
	r = program.NewRewriter(&out, Limits{Memory: 10000, Encoding: EncodingUTF8})
	defer r.Release()
	out.Reset()
	page := strings.Repeat("<p>", 2000) + "<em>"
	for rest := page; rest != ""; rest = rest[min(100, len(rest)):] {
		if _, err := io.WriteString(r, rest[:min(100, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != page || r.Bailed() != BailedRequired || cap(r.wrote) > 100000 {
		t.Errorf("%s, %d bytes held: %s", r.Bailed(), cap(r.wrote), difference(out.String(), page))
	}
}

func TestConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string // "experience: edit"
		page  string
		want  string // {edit by count first}…
		sure  string // what the program knows without a page
	}{
		"none":           {[]string{"a: append p: 1", "b: prepend p: 2", "b: before p: 3", "b: add_class p: x"}, "<p>", "[]", "[]"},
		"same":           {[]string{"a: append p: 1", "a: remove p"}, "<p>", "[]", "[]"},
		"removed":        {[]string{"a: append p: 1", "b: remove p", "c: before p: 1"}, "<p><p>", "[{0 1 2 0}]", "[{0 1 1 -1}]"},
		"by selectors":   {[]string{"a: append p: 1", "b: remove .x"}, "<p><p class=x>", "[{0 1 1 3}]", "[]"},
		"both removed":   {[]string{"a: remove p", "b: remove p"}, "<p>", "[]", "[]"},
		"replaced":       {[]string{"a: replace p: 1", "b: remove p", "c: replace p: 2"}, "<p>", "[{1 2 1 0} {0 2 1 0}]", "[{1 2 1 -1} {0 2 1 -1}]"},
		"inner":          {[]string{"a: append p: 1", "b: set_inner p: 2", "a: append p: 3"}, "<p>", "[{0 1 1 0}]", "[{0 1 1 -1}]"},
		"inside":         {[]string{"a: append b: 1", "b: set_inner div: 2"}, "<div><b></b></div><b>", "[{0 1 1 5}]", "[]"},
		"inside removed": {[]string{"b: remove div", "a: append b: 1"}, "<div><b></b></div><b>", "[{1 0 1 5}]", "[]"},
		"attribute":      {[]string{"a: set_attribute p: x=1", "b: set_attribute p: X=2", "c: set_attribute p: x=2"}, "<p>", "[{0 2 1 0}]", "[{0 2 1 -1}]"},
		"classes":        {[]string{"a: add_class p: x", "b: remove_class p: x", "c: add_class p: y"}, "<p>", "[{0 1 1 0}]", "[{0 1 1 -1}]"},
		"class set":      {[]string{"a: add_class p: x", "b: set_attribute p: class=z"}, "<p>", "[{0 1 1 0}]", "[{0 1 1 -1}]"},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []decision.PlannedEdit
			for _, s := range c.edits {
				experience, rest, _ := strings.Cut(s, ": ")
				edits = append(edits, decision.PlannedEdit{Edit: shortEdit(t, rest), Experience: experience, Apply: true})
			}
			program, err := Compile(edits)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(program.Conflicts()); got != c.sure && c.sure != "" {
				t.Errorf("the program: got %s, want %s", got, c.sure)
			}
			for range 2 {
				r := program.NewRewriter(io.Discard, inUTF8)
				if _, err := io.WriteString(r, c.page); err != nil {
					t.Fatal(err)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprint(r.Conflicts()); got != c.want && c.sure != "" {
					t.Errorf("got %s, want %s", got, c.want)
				}
				r.Release()
			}
			checkPage(t, c.page, edits, inUTF8)
		})
	}
}

func TestInsertsInOtherCharsets(t *testing.T) {
	for charset, want := range map[string]string{
		"windows-1252": "<p title=\"\x80\">\xe9\x80&#x2603;&#x42f;</p><script>'\xe9'</script>",
		"iso-8859-1":   "<p title=\"\x80\">\xe9\x80&#x2603;&#x42f;</p><script>'\xe9'</script>",
		"iso-8859-15":  "<p title=\"\xa4\">\xe9\xa4&#x2603;&#x42f;</p><script>'\xe9'</script>",
		"windows-1251": "<p title=\"\x88\">&#xe9;\x88&#x2603;\xdf</p><script></script>",
		"utf-8":        "<p title=\"€\">é€☃Я</p><script>'é'</script>",
	} {
		limits := Limits{Encoding: EncodingOf("text/html; charset=" + charset)}
		edits := []decision.Edit{shortEdit(t, "set_inner p: é€☃Я"), shortEdit(t, "set_attribute p: title=€"), shortEdit(t, "set_inner script: text 'é'")}
		if got := rewrite(t, compile(t, edits...), "<p></p><script></script>", limits, nil); got.out != want {
			t.Errorf("%s: got %q, want %q", charset, got.out, want)
		}
		checkPage(t, "<p></p><script></script>", planned(edits...), limits)
	}
}

// TestCharsetLabels checks that no label of the table is given twice, and that each
// table extends ASCII.
func TestCharsetLabels(t *testing.T) {
	count := 0
	for i := range charsets {
		count += len(strings.Fields(charsets[i].labels))
		for c := rune(0); c < 128; c++ {
			if b, ok := charsets[i].table.EncodeRune(c); !ok || rune(b) != c {
				t.Errorf("%s: %#x is written as %#x", charsets[i].labels, c, b)
			}
		}
	}
	if len(charsetLabels()) != count {
		t.Errorf("%d labels, %d different", count, len(charsetLabels()))
	}
}
