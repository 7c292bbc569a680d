package rewrite

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// TestJSONHostile sends documents that are made to cost much: each byte is looked at
// once, and no more is held than the limit allows.
func TestJSONHostile(t *testing.T) {
	const many, memory = 1_000_000, 64 << 10
	edits := jsonEdits(t, "set /a/b: 1\nremove /0/0\nset /k500: 2\nremove /k7\nappend '': 1\nset /-: 2")
	program := compile(t, edits...)
	for name, c := range map[string]struct {
		doc    string
		reason Reason
	}{
		"arrays":           {`{"x":` + strings.Repeat("[", many) + strings.Repeat("]", many) + "}", BailedDepth},
		"objects":          {strings.Repeat(`{"a":`, many) + "1" + strings.Repeat("}", many), BailedDepth},
		"never closed":     {strings.Repeat("[", many), BailedSyntax},
		"members":          {`{` + strings.Repeat(`"k":1,`, many) + `"k":1}`, NotBailed},
		"members sought":   {`{` + strings.Repeat(`"k7":1,`, many) + `"k":1}`, NotBailed},
		"items":            {`[` + strings.Repeat(`1,`, many) + `1]`, NotBailed},
		"documents":        {strings.Repeat("{}\n", many), BailedTrailing},
		"string":           {`{"a":"` + strings.Repeat("x", 10*many) + `"}`, NotBailed},
		"escapes":          {`{"a":"` + strings.Repeat(`\u0041`, many) + `"}`, NotBailed},
		"name":             {`{"` + strings.Repeat("x", 10*many) + `":1,"k7":2}`, NotBailed},
		"name of escapes":  {`{"` + strings.Repeat(`\u0041`, many) + `":1,"k7":2}`, NotBailed},
		"number":           {`{"a":` + strings.Repeat("1", 10*many) + `}`, NotBailed},
		"white space":      {`{"a":1` + strings.Repeat(" ", 10*many) + `}`, BailedMemory},
		"string open":      {`{"a":"` + strings.Repeat("x", 10*many), BailedSyntax},
		"name open":        {`{"` + strings.Repeat("x", 10*many), BailedSyntax},
		"deep and removed": {`{"k7":` + strings.Repeat("[", many) + strings.Repeat("]", many) + `}`, NotBailed},
	} {
		t.Run(name, func(t *testing.T) {
			limits := Limits{Memory: memory, Depth: 10_000}
			j := program.NewJSONEditor(io.Discard, limits)
			defer j.Release()
			for rest := c.doc; rest != ""; {
				n := min(len(rest), 16<<10)
				if _, err := io.WriteString(j, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				if held := len(j.held) + len(j.name) + len(j.came) + len(j.wrote); held > memory+16<<10 {
					t.Fatalf("%d bytes are held", held)
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if j.Bailed() != c.reason || j.work > int64(len(c.doc)) {
				t.Errorf("bailed %q, looked at %d bytes of %d", j.Bailed(), j.work, len(c.doc))
			}
			if most := cap(j.held) + cap(j.name) + 8*cap(j.kinds) + 64*cap(j.frames); most > 4*memory {
				t.Errorf("%d bytes of memory", most)
			}
		})
	}
}

// TestJSONRequiredHoldsTheDocument checks that no more is held for a required edit
// than the limits allow.
func TestJSONRequiredHoldsTheDocument(t *testing.T) {
	e := jsonEdit(t, "set /last: 1")
	e.Required = true
	program := compile(t, e, jsonEdit(t, `set /a: "`+strings.Repeat("x", 5000)+`"`))
	doc := `{` + strings.Repeat(`"a":1,`, 5000) + `"last":2}`
	var out strings.Builder
	j := program.NewJSONEditor(&out, Limits{Memory: 10_000})
	defer j.Release()
	for rest := doc; rest != ""; rest = rest[min(100, len(rest)):] {
		if _, err := io.WriteString(j, rest[:min(100, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != doc || j.Bailed() != BailedRequired || cap(j.wrote)+cap(j.came) > 150_000 {
		t.Errorf("%s, %d bytes held: %s", j.Bailed(), cap(j.wrote)+cap(j.came), difference(out.String(), doc))
	}
}

// TestJSONCompileIsBounded compiles edits that are made to cost much.
func TestJSONCompileIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	big := decision.JSON(`{` + `"x":[],"y":` + strings.Repeat("[", 400) + strings.Repeat("]", 400) + `}`)
	var edits []decision.Edit
	for range 60 {
		edits = append(edits,
			decision.Edit{Body: decision.BodyJSON, Op: decision.OpMerge, JSON: big},
			decision.Edit{Pointer: "/x", Op: decision.OpAppend, JSON: big},
			decision.Edit{Pointer: "/y/0", Op: decision.OpRemove},
			decision.Edit{Pointer: strings.Repeat("/0", 100), Op: decision.OpRemove})
	}
	compile(t, edits...)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
		t.Errorf("compiling took %d MB", used>>20)
	}
}
