package rewrite

import (
	"errors"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

func TestCheck(t *testing.T) {
	good := []decision.Edit{
		{Select: "h1", Op: decision.OpSetInner, Text: "x"},
		{Select: "h1", Op: decision.OpSetInner},
		{Select: " #a.b [c] , d>e+f~g h ", Op: decision.OpRemove},
		{Select: "*", Op: decision.OpAddClass, Value: "ä"},
		{Select: `a[href^="http:"][rel~=x i], .\31 a, #\#x, a/**/b`, Op: decision.OpSetAttribute, Name: "data-x"},
		{Select: "li:nth-child( -2n + 3 ):not(.a, #b):is(x, :not(y))", Op: decision.OpRemoveAttribute, Name: "@click"},
		{Select: "p:NTH-OF-TYPE(even)", Op: decision.OpReplace, HTML: "<b>x</b> < 3"},
		{Select: "script", Op: decision.OpAppend, Text: "if (a<b) {"},
	}
	for _, e := range good {
		if err := Check(e); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
		if _, err := Compile(planned(e)); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	for _, c := range []struct {
		edit    decision.Edit
		field   string
		column  int
		message string
	}{
		{decision.Edit{Op: decision.OpRemove}, "select", 1, "is needed"},
		{decision.Edit{Select: "  ", Op: decision.OpRemove}, "select", 1, "is needed"},
		{decision.Edit{Select: "ü >", Op: decision.OpRemove}, "select", 4, "found the end"},
		{decision.Edit{Select: "> a", Op: decision.OpRemove}, "select", 1, `found ">"`},
		{decision.Edit{Select: "a,", Op: decision.OpRemove}, "select", 3, "found the end"},
		{decision.Edit{Select: "a,,b", Op: decision.OpRemove}, "select", 3, `found ","`},
		{decision.Edit{Select: "a)", Op: decision.OpRemove}, "select", 2, `found ")"`},
		{decision.Edit{Select: "a{}", Op: decision.OpRemove}, "select", 2, `found "{"`},
		{decision.Edit{Select: ".1a", Op: decision.OpRemove}, "select", 2, `\31`},
		{decision.Edit{Select: "#", Op: decision.OpRemove}, "select", 2, "an id"},
		{decision.Edit{Select: "a[", Op: decision.OpRemove}, "select", 3, "attribute name"},
		{decision.Edit{Select: "a[b", Op: decision.OpRemove}, "select", 2, "not closed"},
		{decision.Edit{Select: "a[b=", Op: decision.OpRemove}, "select", 5, "a value"},
		{decision.Edit{Select: "a[b='c]", Op: decision.OpRemove}, "select", 5, "string is not closed"},
		{decision.Edit{Select: "a[b=c d]", Op: decision.OpRemove}, "select", 7, `"]" was expected`},
		{decision.Edit{Select: "a[b!=c]", Op: decision.OpRemove}, "select", 4, `found "!"`},
		{decision.Edit{Select: "svg|a", Op: decision.OpRemove}, "select", 4, "namespaces"},
		{decision.Edit{Select: "p:last-child", Op: decision.OpRemove}, "select", 2, "siblings that follow"},
		{decision.Edit{Select: "p:has(a)", Op: decision.OpRemove}, "select", 2, "content is not known yet"},
		{decision.Edit{Select: "p::before", Op: decision.OpRemove}, "select", 2, "pseudo-element"},
		{decision.Edit{Select: "a:hover", Op: decision.OpRemove}, "select", 2, "state in the browser"},
		{decision.Edit{Select: ":root", Op: decision.OpRemove}, "select", 1, "html"},
		{decision.Edit{Select: "a:foo", Op: decision.OpRemove}, "select", 2, "not known"},
		{decision.Edit{Select: "a:nth-child(x)", Op: decision.OpRemove}, "select", 13, "2n+1"},
		{decision.Edit{Select: "a:nth-child(2 of b)", Op: decision.OpRemove}, "select", 13, "not supported"},
		{decision.Edit{Select: "a:nth-child(2", Op: decision.OpRemove}, "select", 2, "not closed"},
		{decision.Edit{Select: "a:not(b c)", Op: decision.OpRemove}, "select", 7, "without combinators"},
		{decision.Edit{Select: "a:not(b", Op: decision.OpRemove}, "select", 2, "not closed"},
		{decision.Edit{Select: "a:not", Op: decision.OpRemove}, "select", 6, `"("`},
		{decision.Edit{Select: strings.Repeat(":not(", 20) + "a" + strings.Repeat(")", 20), Op: decision.OpRemove}, "select", 81, "nested"},
		{decision.Edit{Select: "a\xff", Op: decision.OpRemove}, "select", 1, "UTF-8"},
		{decision.Edit{Select: "a"}, "op", 0, "is needed"},
		{decision.Edit{Select: "a", Op: "explode"}, "op", 0, `found "explode"`},
		{decision.Edit{Select: "a", Op: decision.OpAppend}, "html", 0, "needs content"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "x", Text: "y"}, "html", 0, "both"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<b", Value: "y"}, "html", 0, "unfinished tag"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<b title='>"}, "html", 0, "unfinished tag"},
		{decision.Edit{Select: "a", Op: decision.OpPrepend, HTML: "1 <"}, "html", 0, "write &lt;"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<b>x</b><?y"}, "html", 0, "not closed"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<!x"}, "html", 0, "not closed"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "</ x"}, "html", 0, "not closed"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<svg><![CDATA[x]>"}, "html", 0, "]]>"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<plaintext>"}, "html", 0, "leave it out"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<!-- x"}, "html", 0, "comment"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "<script>x"}, "html", 0, "</script>"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, Text: "é\x00"}, "text", 2, "NUL"},
		{decision.Edit{Select: "a", Op: decision.OpAppend, HTML: "x", Name: "y"}, "name", 0, "takes no name"},
		{decision.Edit{Select: "a", Op: decision.OpRemove, Text: "x"}, "text", 0, "takes no text"},
		{decision.Edit{Select: "a", Op: decision.OpSetAttribute, Value: "x"}, "name", 0, "attribute's name"},
		{decision.Edit{Select: "a", Op: decision.OpSetAttribute, Name: "a b"}, "name", 2, `found " "`},
		{decision.Edit{Select: "a", Op: decision.OpAddClass}, "value", 0, "needs the class"},
		{decision.Edit{Select: "a", Op: decision.OpAddClass, Value: "a b"}, "value", 2, "one class"},
		{decision.Edit{Select: "a", Op: decision.OpRemoveAttribute, Name: "b", Value: "c"}, "value", 0, "takes no value"},
	} {
		var e *EditError
		if err := Check(c.edit); !errors.As(err, &e) {
			t.Errorf("%+v: got %v", c.edit, err)
			continue
		}
		if e.Field != c.field || e.Column != c.column || !strings.Contains(e.Message, c.message) {
			t.Errorf("%+v: got %s, column %d: %s; want %s, column %d: …%s…", c.edit, e.Field, e.Column, e.Message, c.field, c.column, c.message)
		}
	}
}

func TestCompileReportsAll(t *testing.T) {
	_, err := Compile(planned(
		decision.Edit{Select: "a", Op: decision.OpRemove},
		decision.Edit{Select: "a:has(b)", Op: decision.OpRemove},
		decision.Edit{Select: "a", Op: "x"},
	))
	var first *CompileError
	if !errors.As(err, &first) || first.Edit != 1 {
		t.Fatalf("got %v", err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "edit 2: op: ") {
		t.Errorf("got %q", lines)
	}
}

func TestSelectorValues(t *testing.T) {
	for _, c := range []struct {
		selector, page string
		want           int
	}{
		{`[a="x&y"]`, `<i a="x&amp;y">`, 1},
		{`[a="x&y"]`, `<i a="x&y">`, 1},
		{`[a="&copy=1"]`, `<i a="&copy=1">`, 1},
		{`[a="©"]`, `<i a="&copy;"><i a=&#xa9;><i a="&#169"><i a=&copy>`, 4},
		{`[a="x\a y"]`, "<i a='x\r\ny'>", 1},
		{`[a=x]`, `<i a=y a=x>`, 0},
		{`[type=TEXT]`, `<input type=text>`, 1},
		{`[type=TEXT s]`, `<input type=text>`, 0},
		{`[data-x=A i]`, `<i data-x=a>`, 1},
		{`[data-x=A]`, `<i data-x=a>`, 0},
		{`[data-x=""]`, `<i data-x><i data-x=''>`, 2},
		{`[lang|=en]`, `<i lang=en><i lang=EN-us><i lang=english>`, 2},
		{`.é`, `<i class="x é">`, 1},
		{`#Ä`, `<i id=Ä><i id=ä>`, 1},
		{`.a.b`, "<i class='b\n\ta'><i class=a>", 1},
		{`.A`, `<i class=a>`, 0},
		{`DIV`, `<div><Div>`, 2},
		{`foreignobject`, `<svg><foreignObject>`, 1},
		{`:not(i)`, `<i></i><b>`, 1},
		{`i:not([a])`, `<i></i><i a><i b>`, 2},
		{`:nth-child(2)`, `<i></i>text<b></b><!-- --><u></u>`, 1},
		{`i + u`, `<i></i>text<!-- --><u></u><u>`, 1},
		{`i ~ u`, `<u></u><i></i><b></b><u></u><u></u>`, 2},
		{`b:nth-of-type(2n)`, `<b></b><i></i><b></b><b></b><b></b>`, 2},
		{`a > b c + d`, `<a><b><x><c></c><d></d></x></b></a>`, 1},
	} {
		program := compile(t, decision.Edit{Select: c.selector, Op: decision.OpAddClass, Value: "m"})
		got := rewrite(t, program, "<html><head></head><body>"+c.page, inUTF8, nil)
		want := c.want
		if c.selector == ":not(i)" || c.selector == ":nth-child(2)" {
			want += map[string]int{":not(i)": 3, ":nth-child(2)": 1}[c.selector]
		}
		if got.matches[0].Count != want {
			t.Errorf("%s in %q: %d matches, want %d", c.selector, c.page, got.matches[0].Count, want)
		}
	}
}
