// Package coding unpacks and packs bodies in the content codings of HTTP (RFC 9110
// section 8.4.1), and finds out which of them a client accepts best.
//
// Bodies come from anywhere, so reading them is bounded: in the memory that a window
// takes, in what a small body may grow to, and in what may come without giving anything.
package coding
