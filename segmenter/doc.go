// Package segmenter decides which segments a visitor is in.
//
// A segment is a named rule, written in expr, over the request, the visitor's
// counters and their traits, or the reaching of a score, which is a sum of
// points for rules that match:
//
//	request.utm.campaign == "sale"            visitor.orders >= 2
//	request.device in ["mobile", "tablet"]    visitor.days_since_last_order > 30
//	request.query["ref"] startsWith "partner" traits.plan == "gold"
//	count("Newsletter Signup") > 0            score("engagement") >= 10
//
// [Compile] checks all rules and finds every input that they read, so all names
// in a rule are constants, and nothing in a rule can loop or grow. A trait that
// is missing or of another type makes a comparison false, not the rule an error.
//
// # The cached scorer
//
// [Scorer] keeps answers by visitor and by the request attributes that rules
// name. An entry is used only if all of this holds:
//
//   - its visitor and its attributes equal the asked ones, compared in full: the
//     64-bit key only finds the place, so a collision costs a recomputation and
//     can never show one visitor the segments of another, or the answer for
//     ?utm_campaign=sale to a plain request;
//   - the digest of the profile inputs that rules read equals that of the asked
//     profile. Values are compared and not revisions, because a value means the
//     same after a restart, a merge of two profiles or a reload from a store on
//     another node, where revisions start anew. A counter that no rule names is
//     not in the digest, so a page view that no rule reads recomputes nothing. The
//     digest is 64 bits of a hash whose random seed never leaves the process: that
//     two states of one profile collide is a chance of 2^-64 that nobody can
//     choose, and the harm is one visitor's own older answer;
//   - the asked moment lies in the window in which the passing of time alone
//     cannot change the answer. Only rules that read days_since inputs bound it.
//
// So an entry proves itself at each look-up. It does not matter that ristretto
// may drop or delay a write, or that a slow request writes an older answer after
// a newer one: the result is one more computation, never a wrong segment.
//
// A scorer belongs to one generation of the configuration and holds a cache of
// its own; answers of other rules cannot be in it.
package segmenter
