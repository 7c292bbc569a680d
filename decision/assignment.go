package decision

// Assignment puts a visitor into one arm of one experiment.
type Assignment struct {
	Experiment string
	Arm        string

	// Holdout marks the implicit experiment that an experience with a hold-out
	// share is. Its Experiment is the experience's name, its Arm one of
	// [ArmTreated] and [ArmHeldOut].
	Holdout bool
}

// The two arms of an experience's hold-out.
const (
	ArmTreated = "treated"
	ArmHeldOut = "held-out"
)

// Exposure is what one visitor met of one experiment.
//
// Triggered and delivered are two facts. Triggered is decided before the arm is
// looked at and is what lift is computed on. Delivered is a flag with a rate, and
// never a filter: what fails only in the treatment would bias the result.
type Exposure struct {
	Assignment
	Segment string // primary segment at this moment, "" when none
}
