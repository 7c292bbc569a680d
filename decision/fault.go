package decision

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Path leads to the value, as in "segments[2].when".
	Path string

	// Column counts characters inside a string value from 1; 0 means the value
	// as a whole.
	Column int

	// Message says what was found and what was expected.
	Message string
}

func (f Fault) Error() string { return f.Path + ": " + f.Message }

// Faults collects everything that is wrong, so that all of it is reported at once.
type Faults []Fault

// Add notes a fault of the value at path.
func (f *Faults) Add(path, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// AddAt notes a fault at a column, counted from 1, inside the string value at path.
func (f *Faults) AddAt(path string, column int, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Column: column, Message: fmt.Sprintf(format, args...)})
}

// Under notes the faults of a part of the configuration that stands at prefix.
func (f *Faults) Under(prefix string, part Faults) {
	for _, fault := range part {
		switch {
		case fault.Path == "":
			fault.Path = prefix
		case strings.HasPrefix(fault.Path, "["):
			fault.Path = prefix + fault.Path
		default:
			fault.Path = prefix + "." + fault.Path
		}
		*f = append(*f, fault)
	}
}

// Err returns nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}
