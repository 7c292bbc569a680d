package decision

// Bodies is a set of kinds of bodies.
type Bodies byte

// AllBodies are the kinds that edits can be for.
const AllBodies Bodies = 1<<3 - 1

// BodiesOf returns the set of some kinds. What is no kind is left out.
func BodiesOf(kinds ...Body) (set Bodies) {
	for _, kind := range kinds {
		switch kind {
		case BodyHTML:
			set |= 1
		case BodyJSON:
			set |= 2
		case BodyText:
			set |= 4
		}
	}
	return set
}

// Has reports whether a kind is in the set.
func (s Bodies) Has(kind Body) bool { return s&BodiesOf(kind) != 0 }
