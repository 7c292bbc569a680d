package rewrite

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestPagesPassUnchanged runs real pages without edits, with edits that match
// nothing, and with edits that are only to be matched.
func TestPagesPassUnchanged(t *testing.T) {
	matchedOnly := planned(manyEdits(20)...)
	for _, selector := range []string{"div", "p a[href]", "li:nth-child(2n)", "body", "*"} {
		matchedOnly = append(matchedOnly, decision.PlannedEdit{Edit: decision.Edit{Select: selector, Op: decision.OpRemove}})
	}
	programs := map[string][]decision.PlannedEdit{
		"none": nil, "never": planned(decision.Edit{Select: "no-such #element", Op: decision.OpRemove}), "matched": matchedOnly,
	}
	for name, page := range realPages(t) {
		for kind, edits := range programs {
			program, err := Compile(edits)
			if err != nil {
				t.Fatal(err)
			}
			whole := rewrite(t, program, string(page), Limits{}, nil)
			sizes := chunkings(uint64(len(page)))
			sizes["whole"] = func() int { return len(page) }
			for chunking, size := range sizes {
				got := rewrite(t, program, string(page), Limits{}, size)
				if got.out != string(page) {
					t.Errorf("%s, %s, %s: %s", name, kind, chunking, difference(got.out, string(page)))
				}
				if fmt.Sprint(got.matches, got.bailed) != fmt.Sprint(whole.matches, whole.bailed) || got.bailed != NotBailed {
					t.Errorf("%s, %s, %s: %v %s, want %v %s", name, kind, chunking, got.matches, got.bailed, whole.matches, whole.bailed)
				}
			}
		}
	}
}

// TestUndo takes what was inserted out of real pages again.
func TestUndo(t *testing.T) {
	const mark = "<!--sedge-undo-->"
	const attribute = ` data-sedge-undo="1"`
	var edits []decision.Edit
	for _, selector := range []string{"div", "p", "li", "td", "a[href]", "title", "body", "head", "div > p:first-child", "script", "svg *"} {
		for _, op := range []decision.Op{decision.OpBefore, decision.OpAfter, decision.OpPrepend, decision.OpAppend} {
			edits = append(edits, decision.Edit{Select: selector, Op: op, HTML: mark})
		}
		edits = append(edits, decision.Edit{Select: selector, Op: decision.OpSetAttribute, Name: "data-sedge-undo", Value: "1"})
	}
	program := compile(t, edits...)
	for name, page := range realPages(t) {
		got := rewrite(t, program, string(page), Limits{}, nil)
		if !strings.Contains(got.out, mark) || !strings.Contains(got.out, attribute) {
			t.Errorf("%s: nothing was inserted", name)
		}
		for chunking, size := range chunkings(uint64(len(page))) {
			if cut := rewrite(t, program, string(page), Limits{}, size); fmt.Sprint(cut) != fmt.Sprint(got) {
				t.Errorf("%s, %s: %s", name, chunking, difference(cut.out, got.out))
			}
		}
		undone := strings.NewReplacer(mark, "", attribute, "").Replace(got.out)
		if undone != string(page) {
			t.Errorf("%s: %s", name, difference(undone, string(page)))
		}
	}
}

// TestChunksOfEditedPages edits real pages in all ways and in any chunks.
func TestChunksOfEditedPages(t *testing.T) {
	program := compile(t,
		decision.Edit{Select: "script", Op: decision.OpRemove},
		decision.Edit{Select: "p", Op: decision.OpUnwrap},
		decision.Edit{Select: "div div > a", Op: decision.OpReplace, Text: "é"},
		decision.Edit{Select: "ul", Op: decision.OpSetInner, HTML: "<li>x"},
		decision.Edit{Select: "[class]", Op: decision.OpAddClass, Value: "é"},
		decision.Edit{Select: "[id]", Op: decision.OpRemoveAttribute, Name: "ID"},
		decision.Edit{Select: "img", Op: decision.OpSetAttribute, Name: "src", Value: "a&b"},
	)
	for name, page := range realPages(t) {
		whole := rewrite(t, program, string(page), Limits{}, nil)
		for chunking, size := range chunkings(uint64(len(page))) {
			if got := rewrite(t, program, string(page), Limits{}, size); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Errorf("%s, %s: %s", name, chunking, difference(got.out, whole.out))
			}
		}
	}
}

// TestHostilePagesCostLittle counts the steps that hostile pages take: twice the
// page must take about twice the steps.
func TestHostilePagesCostLittle(t *testing.T) {
	edits := []decision.Edit{
		{Select: "div div div div div", Op: decision.OpSetAttribute, Name: "x", Value: "1"},
		{Select: "div > div ~ div + div", Op: decision.OpAddClass, Value: "c"},
		{Select: ".a .b:not(.c):not(:is(.d, .e))", Op: decision.OpAppend, HTML: "x"},
		{Select: "b i:nth-of-type(3)", Op: decision.OpAfter, HTML: "x"},
	}
	program := compile(t, edits...)
	for name, page := range map[string]func(n int) string{
		"stray end tags":    func(n int) string { return strings.Repeat("<a></b>", n) },
		"open, stray ends":  func(n int) string { return strings.Repeat("<span>", n) + strings.Repeat("</b>", n) },
		"barrier":           func(n int) string { return "<i><td>" + strings.Repeat("<span></i>", n) },
		"nested div":        func(n int) string { return strings.Repeat("<div>", n) },
		"nested, closed":    func(n int) string { return strings.Repeat("<div>", n) + strings.Repeat("</div>", n) },
		"p in button":       func(n int) string { return "<p><button>" + strings.Repeat("<div><p>", n) },
		"misnested":         func(n int) string { return strings.Repeat("<b>", n) + "<div>" + strings.Repeat("</b><p>", n) },
		"li":                func(n int) string { return strings.Repeat("<li><div>", n) },
		"names":             func(n int) string { return distinct(n, "<x%d>") + distinct(n, "</x%d>") },
		"names, never":      func(n int) string { return strings.Repeat("<x><y>", n) + distinct(n, "</z%d>") },
		"siblings of names": func(n int) string { return "<b>" + distinct(n, "<x%d></x%[1]d><i></i>") },
		"attributes":        func(n int) string { return "<p " + distinct(n/8, "a%d=1 ") + ">" },
		"classes":           func(n int) string { return "<p class='" + strings.Repeat("a b ", n/4) + "'>" },
		"same attribute":    func(n int) string { return "<p " + strings.Repeat("class=a ", n/8) + ">" },
		"foreign":           func(n int) string { return strings.Repeat("<svg><g></p>", n) },
		"tables":            func(n int) string { return strings.Repeat("<table><tr><td>", n) + strings.Repeat("</td>", n) },
		"foster":            func(n int) string { return "<table>" + strings.Repeat("<div>", n) },
		"forms":             func(n int) string { return strings.Repeat("<form><div></form>", n) },
		"comment":           func(n int) string { return "<!--" + strings.Repeat("--!-", n) },
		"script":            func(n int) string { return "<script><!--" + strings.Repeat("<script></script ", n) },
		"templates":         func(n int) string { return strings.Repeat("<template><tr>", n) },
		"select":            func(n int) string { return strings.Repeat("<select><option>", n) },
		"headings":          func(n int) string { return strings.Repeat("<h1><div></h2>", n) },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 8000
			once, twice := stepsOf(t, program, page(n)), stepsOf(t, program, page(2*n))
			if twice > 2*once+once/4+100 {
				t.Errorf("%d steps for n, %d for 2n", once, twice)
			}
			if size := int64(len(page(2 * n))); twice > 40*size {
				t.Errorf("%d steps for %d bytes", twice, size)
			}
		})
	}
}

func distinct(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func stepsOf(t *testing.T, p *Program, page string) int64 {
	t.Helper()
	r := p.NewRewriter(io.Discard, inUTF8)
	defer r.Release()
	if _, err := io.WriteString(r, page); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Bailed() != NotBailed {
		t.Fatalf("bailed: %s", r.Bailed())
	}
	return r.work
}

// TestLargeTokens checks that tokens of any size take no more memory than allowed.
func TestLargeTokens(t *testing.T) {
	program := compile(t, decision.Edit{Select: "[a]", Op: decision.OpRemove})
	for name, page := range map[string]string{
		"value":      "<p a='" + strings.Repeat("x", 10<<20) + "'>",
		"attributes": "<p " + strings.Repeat("b ", 1<<20) + ">",
		"doctype":    "<!doctype " + strings.Repeat("x", 10<<20) + ">",
		"comment":    "<!--" + strings.Repeat("x", 10<<20) + "-->",
		"script":     "<script>" + strings.Repeat("<x", 5<<20),
		"name":       "<" + strings.Repeat("x", 10<<20) + ">",
	} {
		var out strings.Builder
		r := program.NewRewriter(&out, inUTF8)
		held := 0
		for rest := page; rest != ""; {
			n := min(len(rest), 32<<10)
			if _, err := io.WriteString(r, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			held = max(held, cap(r.held)+cap(r.scan.attrs)*attrSize)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != page {
			t.Errorf("%s: changed", name)
		}
		if held > 4*defaultMemory {
			t.Errorf("%s: held %d bytes", name, held)
		}
		r.Release()
	}
}
