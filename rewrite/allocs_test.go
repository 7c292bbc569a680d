//go:build !race

package rewrite

import (
	"io"
	"testing"
)

// TestNoAllocations rewrites real pages with pooled rewriters: in the steady state
// nothing is allocated.
func TestNoAllocations(t *testing.T) {
	pages := realPages(t)
	for name, program := range map[string]*Program{
		"none":   compile(t),
		"three":  compile(t, threeEdits...),
		"twenty": compile(t, manyEdits(20)...),
		"links":  compile(t, shortEdit(t, "set_attribute a: title=x y"), shortEdit(t, "append p:nth-of-type(2) ~ p > a: x")),
	} {
		for file, page := range pages {
			allocs := testing.AllocsPerRun(10, func() {
				r := program.NewRewriter(io.Discard, Limits{})
				for rest := page; len(rest) > 0; {
					n := min(len(rest), 16<<10)
					r.Write(rest[:n])
					rest = rest[n:]
				}
				r.Close()
				r.Release()
			})
			if allocs > 0 {
				t.Errorf("%s, %s: %v allocations", name, file, allocs)
			}
		}
	}
}

// TestSplicesWithoutAllocations writes edited pages into a buffer that is used again.
func TestSplicesWithoutAllocations(t *testing.T) {
	program := compile(t, threeEdits...)
	for file, body := range realPages(t) {
		page, _ := CompilePage(body, Limits{})
		splice := page.Splice(program, Given{})
		dst := splice.AppendTo(nil)
		allocs := testing.AllocsPerRun(10, func() {
			dst = splice.AppendTo(dst[:0])
			splice.WriteTo(io.Discard)
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations", file, allocs)
		}
	}
}

// TestNoAllocationsInJSON edits documents with pooled editors.
func TestNoAllocationsInJSON(t *testing.T) {
	doc := productList(50)
	slots := jsonEdit(t, `set /hi: "{{trait 'first_name'}}"`)
	required := jsonEdit(t, "remove /total")
	required.Required = true
	for name, program := range map[string]*Program{
		"none":     compile(t),
		"three":    compile(t, threePointers...),
		"many":     compile(t, manyPointers(40)...),
		"slots":    compile(t, slots),
		"required": compile(t, required),
	} {
		values := []string{"Ann"}
		allocs := testing.AllocsPerRun(20, func() {
			j := program.NewJSONEditor(io.Discard, Limits{Values: values})
			for rest := doc; len(rest) > 0; {
				n := min(len(rest), 777)
				j.Write(rest[:n])
				rest = rest[n:]
			}
			j.Close()
			j.Release()
		})
		if most := 0.0; name == "slots" && allocs > 2 || name != "slots" && allocs > most {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
