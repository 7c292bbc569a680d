package plan

import (
	"errors"
	"strings"
)

func checkPathGlob(pattern string) error {
	switch {
	case !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*"):
		return errors.New("expected a path that starts with /")
	case strings.ContainsAny(pattern, "?#"):
		return errors.New("expected a path without query or fragment")
	}
	return checkGlob(pattern)
}

func checkHostGlob(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("expected a host name")
	case pattern != strings.ToLower(pattern):
		return errors.New("expected lower case")
	case strings.ContainsAny(pattern, "/: "):
		return errors.New("expected a host name without scheme, port or path")
	}
	return checkGlob(pattern)
}

const maxGlob = 1024

func checkGlob(pattern string) error {
	if len(pattern) > maxGlob || strings.Count(pattern, "*") > 32 {
		return errors.New("expected a shorter pattern")
	}
	return nil
}
