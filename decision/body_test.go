package decision

import "testing"

func TestBodies(t *testing.T) {
	set := BodiesOf(BodyJSON, BodyText, "yaml")
	for kind, want := range map[Body]bool{BodyHTML: false, BodyJSON: true, BodyText: true, "yaml": false, "": false} {
		if set.Has(kind) != want {
			t.Errorf("%q: %t", kind, !want)
		}
	}
	if BodiesOf(BodyHTML, BodyJSON, BodyText) != AllBodies || BodiesOf() != 0 {
		t.Error("all and none")
	}
}
