package rig

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Conn is a client's connection. It serves one request at a time.
type Conn struct {
	net.Conn
	br *bufio.Reader
}

// Answer is what there is to know of an answer.
type Answer struct {
	Status int
	Cookie string // the visitor's, as name=value, if the answer set it
	Length int    // of the body
}

// Dial connects to an address.
func Dial(address string) (*Conn, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &Conn{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// Do sends a request and reads the answer. The body goes to the place of what is in
// body, which may be nil.
func (c *Conn) Do(request []byte, body *[]byte) (a Answer, err error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(request); err != nil {
		return a, err
	}
	if body != nil {
		*body = (*body)[:0]
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		switch {
		case first:
			a.Status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 2:
			a.Length, err = c.read(length, body)
			return a, err
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, _ = strconv.Atoi(strings.TrimSpace(string(line[16:])))
		case bytes.HasPrefix(line, []byte("Set-Cookie: sedge_vid=")):
			a.Cookie, _, _ = strings.Cut(string(line[12:]), ";")
		}
	}
}

// read reads the body: of a length, or else in chunks.
func (c *Conn) read(length int, body *[]byte) (int, error) {
	if length >= 0 {
		return length, c.take(length, body)
	}
	for length = 0; ; {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return length, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return length, err
		}
		if err := c.take(int(size), body); err != nil {
			return length, err
		}
		if _, err := c.br.Discard(2); err != nil {
			return length, err
		}
		if length += int(size); size == 0 {
			return length, nil
		}
	}
}

func (c *Conn) take(n int, body *[]byte) error {
	if body == nil {
		_, err := c.br.Discard(n)
		return err
	}
	from := len(*body)
	*body = slices.Grow(*body, n)[:from+n]
	_, err := io.ReadFull(c.br, (*body)[from:])
	return err
}
