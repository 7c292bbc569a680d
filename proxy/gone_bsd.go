//go:build unix && !linux

package proxy

// hasEnded is never sure here.
func hasEnded(int) bool { return false }
