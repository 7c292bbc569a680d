package experiment

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/sedge-proxy/sedge/decision"
)

func arms(names ...string) (list []Arm) {
	for _, name := range names {
		list = append(list, Arm{Name: name})
	}
	return list
}

func compileOK(t testing.TB, cfgs []Config, holdouts ...Holdout) *Experiments {
	t.Helper()
	x, faults := Compile(cfgs, holdouts)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return x
}

func unit(i int) string { return fmt.Sprintf("visitor-%d", i) }

func TestAssign(t *testing.T) {
	x := compileOK(t, []Config{
		{Name: "everyone", Arms: arms("a", "b")},
		{Name: "vips", Segment: "vip", Arms: arms("a", "b")},
	}, Holdout{"banner", "", 0.1}, Holdout{"offer", "vip", 0.1}, Holdout{"offer", "gold", 0.1}, Holdout{"none", "", 0})
	for segment, want := range map[string][]string{
		"": {"everyone", "banner"}, "vip": {"everyone", "vips", "banner", "offer"}, "gold": {"everyone", "banner", "offer"},
	} {
		var got []string
		for _, a := range x.Assign(nil, unit(1), segment) {
			got = append(got, a.Experiment)
			if a.Holdout != (a.Experiment == "banner" || a.Experiment == "offer") {
				t.Errorf("%+v", a)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("segment %q (-want +got):\n%s", segment, diff)
		}
	}
	if got := x.Assign(nil, "", "vip"); got != nil {
		t.Errorf("nobody is in %v", got)
	}
	kept := x.Assign([]decision.Assignment{{Experiment: "before"}}, unit(1), "vip")
	if len(kept) != 5 || kept[0].Experiment != "before" {
		t.Errorf("appended: %v", kept)
	}
	again := compileOK(t, []Config{{Name: "everyone", Arms: arms("a", "b")}})
	for i := range 100 {
		if x.Assign(nil, unit(i), "")[0] != again.Assign(nil, unit(i), "")[0] {
			t.Fatal("the arm depends on something else than seed and unit")
		}
	}
	if diff := cmp.Diff([]string{"everyone", "vips", "banner", "offer"}, x.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestArms(t *testing.T) {
	x := compileOK(t, []Config{{Name: "e", Arms: []Arm{{"a", 1}, {"b", 3}}}, {Name: "f", Arms: arms("a", "b", "c", "d")}}, Holdout{"h", "", 0.25})
	for name, want := range map[string][]Arm{
		"e": {{"a", 0.25}, {"b", 0.75}}, "f": {{"a", 0.25}, {"b", 0.25}, {"c", 0.25}, {"d", 0.25}},
		"h": {{decision.ArmHeldOut, 0.25}, {decision.ArmTreated, 0.75}},
	} {
		got, ok := x.Arms(name)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		got[0].Name = "changed"
		if again, _ := x.Arms(name); again[0].Name == "changed" {
			t.Errorf("%s: the arms can be changed from outside", name)
		}
	}
	if _, ok := x.Arms("other"); ok {
		t.Error("an unknown experiment has arms")
	}
}

const visitors = 100000

// chiSquareP is the probability of counts at least as far from expectation.
func chiSquareP(t *testing.T, counts map[string]int, weights map[string]float64, total int) float64 {
	t.Helper()
	sum := 0.0
	for name, weight := range weights {
		expected := weight * float64(total)
		sum += (float64(counts[name]) - expected) * (float64(counts[name]) - expected) / expected
	}
	return distuv.ChiSquared{K: float64(len(weights) - 1)}.Survival(sum)
}

// At these fixed seeds the test is deterministic; a bias of half a percent would
// fail it.
func TestDistribution(t *testing.T) {
	for _, seed := range []string{"button", "hero 2026", "holdout:x", "1"} {
		x := compileOK(t, []Config{{Name: "e", Seed: "s" + seed, Traffic: 0.5, Arms: []Arm{{"a", 0.2}, {"b", 0.3}, {"c", 0.5}}}}, Holdout{seed, "", 0.1})
		counts := make(map[string]int)
		for i := range visitors {
			assigned := ""
			for _, a := range x.Assign(nil, unit(i), "") {
				if a.Holdout {
					counts[a.Arm]++
				} else {
					assigned = a.Arm
				}
			}
			counts[assigned]++
		}
		if p := chiSquareP(t, counts, map[string]float64{"": 0.5, "a": 0.1, "b": 0.15, "c": 0.25}, visitors); p < 0.001 {
			t.Errorf("seed %q: arms %v, p = %v", seed, counts, p)
		}
		if p := chiSquareP(t, counts, map[string]float64{decision.ArmHeldOut: 0.1, decision.ArmTreated: 0.9}, visitors); p < 0.001 {
			t.Errorf("seed %q: hold-out %v, p = %v", seed, counts, p)
		}
	}
}

// The arm in one experiment says nothing about the arm in another, or about
// being held out of an experience of the same name.
func TestIndependence(t *testing.T) {
	x := compileOK(t, []Config{
		{Name: "one", Arms: arms("a", "b")}, {Name: "two", Arms: arms("a", "b")}, {Name: "one2", Arms: arms("a", "b")}, {Name: "e", Seed: "banner", Arms: arms("a", "b")},
	}, Holdout{"banner", "", 0.5}, Holdout{"banner2", "", 0.5})
	tables := make(map[[2]int]map[string]int)
	for i := range visitors {
		in := x.Assign(nil, unit(i), "")
		for j := range in {
			for k := range j {
				if tables[[2]int{k, j}] == nil {
					tables[[2]int{k, j}] = make(map[string]int)
				}
				tables[[2]int{k, j}][in[k].Arm+"/"+in[j].Arm]++
			}
		}
	}
	if len(tables) != 15 {
		t.Fatalf("%d pairs", len(tables))
	}
	for pair, counts := range tables {
		weights := make(map[string]float64)
		for name := range counts {
			weights[name] = 0.25
		}
		if p := chiSquareP(t, counts, weights, visitors); len(counts) != 4 || p < 0.0005 {
			t.Errorf("pair %v: %v, p = %v", pair, counts, p)
		}
	}
}

// Raising the traffic adds visitors and moves nobody.
func TestTrafficKeepsArms(t *testing.T) {
	small := compileOK(t, []Config{{Name: "e", Traffic: 0.1, Arms: arms("a", "b", "c")}})
	large := compileOK(t, []Config{{Name: "e", Traffic: 0.6, Arms: arms("a", "b", "c")}})
	inSmall, inLarge := 0, 0
	for i := range 20000 {
		before, after := small.Assign(nil, unit(i), ""), large.Assign(nil, unit(i), "")
		inSmall += len(before)
		inLarge += len(after)
		if len(before) > 0 && (len(after) == 0 || before[0] != after[0]) {
			t.Fatalf("visitor %d: %v became %v", i, before, after)
		}
	}
	if inSmall < 1800 || inSmall > 2200 || inLarge < 11500 || inLarge > 12500 {
		t.Errorf("%d of 10%%, %d of 60%%", inSmall, inLarge)
	}
}

// Every visitor is in an arm at full traffic, whatever the rounding of weights.
func TestNobodyFallsBetween(t *testing.T) {
	for n := 2; n <= MaxArms; n++ {
		var list []Arm
		for i := range n {
			list = append(list, Arm{fmt.Sprint(i), 0.1 + float64(i)/7})
		}
		x := compileOK(t, []Config{{Name: "e", Arms: list}})
		for place := range buckets {
			if x.experiments[0].arm(float64(place)/buckets) < 0 {
				t.Fatalf("%d arms: place %d is in none", n, place)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	_, faults := Compile([]Config{
		{Name: "", Arms: arms("a", "b")},
		{Name: "x", Arms: arms("a")},
		{Name: "x", Arms: arms("a", "a"), Traffic: 1.5},
		{Name: "y", Arms: []Arm{{"a", -1}, {"b", 1}}, Seed: "holdout:z"},
		{Name: "z", Arms: []Arm{{"a", 1}, {"b", 0}}, Seed: "s"},
		{Name: "z2", Arms: arms("a", "b"), Seed: "s"},
	}, []Holdout{{"h", "", 1.5}, {"h", "", 0.1}, {"", "", 0.1}, {"z2", "", 0.1}, {"g", "a", 0.1}, {"g", "b", 0.2}})
	var got []string
	for _, f := range faults {
		got = append(got, f.Path)
	}
	want := []string{
		"[0].name", "[1].arms", "[2].name", "[2].traffic", "[2].arms[1].name", "[3].seed", "[3].arms[0].weight",
		"[4].arms", "[5].seed", "holdouts[0]", "holdouts[1]", "holdouts[2]", "holdouts[3]", "holdouts[5]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, faults)
	}
}

func BenchmarkAssign(b *testing.B) {
	x := compileOK(b, []Config{{Name: "one", Arms: arms("a", "b")}}, Holdout{"banner", "", 0.1})
	var dst []decision.Assignment
	b.ReportAllocs()
	for b.Loop() {
		dst = x.Assign(dst[:0], "8vJ0bT2cQkq3aW1xYz5RNg", "vip")
	}
}
