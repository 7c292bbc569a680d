package rewrite

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

// Run with: go test -run '^$' -bench JSON ./rewrite
// The figures are bytes of JSON per second.

// productList is what a shop's API answers with: n products.
func productList(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"total":` + fmt.Sprint(n) + `,"products":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"sku":"SKU-%06d","name":"Wollpullover \"Merino\" %d","description":"Ein warmer Pullover aus feiner Merinowolle, in vielen Farben und Größen.","price":{"amount":%d.95,"currency":"EUR"},"tags":["new","wool","sale"],"images":[{"url":"https://cdn.example.com/p/%d/1.jpg","width":800,"height":600}],"stock":%d,"available":true,"rating":null}`,
			i, i, i, 20+i%80, i, i%13)
	}
	b.WriteString(`],"facets":{"color":{"red":12,"blue":7},"size":{"s":1,"m":2}}}`)
	return []byte(b.String())
}

func manyPointers(n int) []decision.Edit {
	var edits []decision.Edit
	for i := range n {
		switch pointer := fmt.Sprintf("/products/%d", i); i % 4 {
		case 0:
			edits = append(edits, decision.Edit{Pointer: pointer + "/price/amount", Op: decision.OpSet, JSON: "9.95"})
		case 1:
			edits = append(edits, decision.Edit{Pointer: pointer + "/badge", Op: decision.OpSet, JSON: `"for you"`})
		case 2:
			edits = append(edits, decision.Edit{Pointer: pointer + "/tags", Op: decision.OpAppend, JSON: `"vip"`})
		default:
			edits = append(edits, decision.Edit{Pointer: pointer + "/stock", Op: decision.OpRemove})
		}
	}
	return edits
}

var threePointers = []decision.Edit{
	{Pointer: "/products/0/price/amount", Op: decision.OpSet, JSON: "9.95"},
	{Pointer: "/products", Op: decision.OpAppend, JSON: `{"id":-1}`},
	{Pointer: "/facets", Op: decision.OpMerge, JSON: `{"size":null,"segment":"vip"}`},
}

func benchmarkJSON(b *testing.B, edits ...decision.Edit) {
	doc := productList(1000)
	program := compile(b, edits...)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		j := program.NewJSONEditor(io.Discard, Limits{})
		j.Write(doc)
		j.Close()
		j.Release()
	}
}

func BenchmarkJSONScanOnly(b *testing.B)   { benchmarkJSON(b) }
func BenchmarkJSONThree(b *testing.B)      { benchmarkJSON(b, threePointers...) }
func BenchmarkJSONTwoHundred(b *testing.B) { benchmarkJSON(b, manyPointers(200)...) }
func BenchmarkJSONCompile(b *testing.B) {
	edits := planned(manyPointers(200)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(edits); err != nil {
			b.Fatal(err)
		}
	}
}
