package experiment

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"
)

func TestHash(t *testing.T) {
	for _, test := range []struct {
		seed, unit string
		want       float64
	}{
		{"seed", "a", 0.0505},
		{"foo", "def", 0.2019},
		{"90850943850283058242805", "123", 0.7516},
	} {
		if got := Hash(test.seed, test.unit); got != test.want {
			t.Errorf("Hash(%q, %q) = %v, want %v", test.seed, test.unit, got, test.want)
		}
	}
}

func TestHashPublishedCases(t *testing.T) {
	var cases struct {
		Hash [][4]any `json:"hash"`
	}
	readShared(t, "growthbook-cases.json", &cases)
	checked := 0
	for _, c := range cases.Hash {
		if c[2] != 2.0 {
			continue // version 1 is not used here
		}
		checked++
		if got := Hash(c[0].(string), c[1].(string)); got != c[3] {
			t.Errorf("Hash(%q, %q) = %v, want %v", c[0], c[1], got, c[3])
		}
	}
	if checked == 0 {
		t.Error("no case of version 2")
	}
}

func TestBucketRangesPublishedCases(t *testing.T) {
	var cases struct {
		Ranges [][]json.RawMessage `json:"getBucketRange"`
	}
	readShared(t, "growthbook-cases.json", &cases)
	checked := 0
	for _, c := range cases.Ranges {
		var in struct {
			n        int
			coverage float64
			weights  []float64
		}
		var args []json.RawMessage
		var want [][2]float64
		for _, err := range []error{
			json.Unmarshal(c[1], &args), json.Unmarshal(args[0], &in.n), json.Unmarshal(args[1], &in.coverage),
			json.Unmarshal(args[2], &in.weights), json.Unmarshal(c[2], &want),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		sum := 0.0
		for _, w := range in.weights {
			sum += w
		}
		// Compile refuses a coverage above 1 and scales weights to 1, so these
		// arrive here only well-formed.
		if in.coverage > 1 || in.weights != nil && math.Abs(sum-1) > 1e-9 {
			continue
		}
		for in.weights == nil || len(in.weights) < in.n {
			in.weights = append(in.weights, 1/float64(in.n))
		}
		checked++
		for i, r := range bucketRanges(in.coverage, in.weights) {
			if math.Abs(r.start-want[i][0]) > 1e-9 || math.Abs(r.end-want[i][1]) > 1e-9 {
				t.Errorf("%s: range %d is %v, want %v", c[0], i, r, want[i])
			}
		}
	}
	if checked < 3 {
		t.Errorf("%d cases apply", checked)
	}
}

// hashJS is the published hash written over a slice of UTF-16 code units, as
// JavaScript's charCodeAt gives them.
func hashJS(seed, unit string) float64 {
	fnv := func(s string) uint32 {
		h := uint32(2166136261)
		for _, c := range utf16.Encode([]rune(s)) {
			h ^= uint32(c)
			h *= 16777619
		}
		return h
	}
	return float64(fnv(strconv.FormatUint(uint64(fnv(seed+unit)), 10))%10000) / 10000
}

func TestHashIsJavaScripts(t *testing.T) {
	for _, unit := range []string{"é", "日本", "😀", "a😀é", ""} {
		if got, want := Hash("seed", unit), hashJS("seed", unit); got != want {
			t.Errorf("Hash(seed, %q) = %v, want %v", unit, got, want)
		}
	}
	// Hashed as UTF-8 bytes, as the Go client of GrowthBook does, it differs.
	if Hash("seed", "é") == Hash("seed", "\u00c3\u00a9") {
		t.Error("é is hashed as bytes")
	}
	rapid.Check(t, func(t *rapid.T) {
		seed, unit := rapid.String().Draw(t, "seed"), rapid.String().Draw(t, "unit")
		if got, want := Hash(seed, unit), hashJS(seed, unit); got != want || got < 0 || got >= 1 {
			t.Fatalf("Hash(%q, %q) = %v, want %v", seed, unit, got, want)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Hash("checkout button", "8vJ0bT2cQkq3aW1xYz5RNg")
	}
}
