// Package decision holds the words of the flow as plain values.
//
// A request becomes [Facts] about a visitor; the segmenter turns them into a
// [Segmentation]; experiments turn that into [Assignment]s; plugins answer with
// [Edit]s and an [Action]; the planner merges them into a [Plan]; what a visitor
// could have seen and did see leaves as an [Exposure].
//
// Every other package may import this one, and it imports none of them. Its
// values are immutable once they are handed on: whoever needs a change makes a
// new value.
package decision
