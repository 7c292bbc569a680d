package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

// load does so many things, numbered from 0, over a number of connections, one at a
// time on each. It ends at the first error.
func load(address string, conns, count int, do func(c *rig.Conn, i int) error) error {
	var next atomic.Int64
	errs := make([]error, conns)
	var all sync.WaitGroup
	for k := range conns {
		all.Go(func() {
			c, err := rig.Dial(address)
			if err != nil {
				errs[k] = err
				return
			}
			defer c.Close()
			for errs[k] == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				errs[k] = do(c, i)
			}
			next.Store(int64(count))
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// browser are the headers of all requests.
const browser = "Host: shop.example\r\nAccept: text/html\r\nSec-Fetch-Dest: document\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/140\r\n"

// send sends a request; any answer but 200 is an error.
func send(c *rig.Conn, request string, body *[]byte) (rig.Answer, error) {
	a, err := c.Do([]byte(request), body)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("status %d", a.Status)
	}
	if err != nil {
		line, _, _ := strings.Cut(request, " HTTP/")
		err = fmt.Errorf("%s: %w", line, err)
	}
	return a, err
}

// ask asks for the page so many times, each time as the next visitor, from one on.
func ask(address string, visitors []*visitor, from, requests, conns int, saw func(v *visitor, length int, body []byte) error) error {
	return load(address, conns, requests, func(c *rig.Conn, i int) error {
		v := visitors[(from+i)%len(visitors)]
		var body *[]byte
		if v.length.Load() == 0 {
			body = new([]byte)
		}
		a, err := send(c, "GET /page HTTP/1.1\r\n"+browser+"Cookie: "+v.cookie+"\r\n\r\n", body)
		if err != nil {
			return err
		}
		if body == nil {
			return saw(v, a.Length, nil)
		}
		return saw(v, a.Length, *body)
	})
}
