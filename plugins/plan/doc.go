// Package plan finds out what is to be done with a page for a visitor.
//
// A [Planner] is compiled from the experiences of a configuration, each bound to
// the plugin that answers for it. For a page it takes the experiences that name
// the page and the visitor's primary segment, gets each one's answer, and merges
// the answers, in the order of the configuration, into one [decision.Plan].
//
// Answers are kept by exactly what the plugin's scope names, so that a plugin is
// asked rarely; equal questions at the same time are asked once. A page waits for
// answers that are not there yet until its context ends; a call that takes longer
// goes on by itself, and its answer serves the next page. An experience without an
// answer is left out of the plan, with a word of reason.
//
// An experience that is measured, by an experiment or by a hold-out, is planned
// for every counted visitor: those of other arms get its edits marked not to be
// applied, so that what could have been seen is known for all arms alike. For a
// visitor who is not counted (no assignment) it is left out altogether.
//
// Finished plans are kept as well: a page whose answers are all known costs a few
// look-ups and no allocation.
package plan
