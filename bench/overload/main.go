// Command overload measures what Sedge does when there is too much to do: how long
// personalized pages take at 70 % of what it can answer and at five times that, and
// what ten thousand slow connections cost.
//
//	go run ./bench/overload          # both; -mode load or -mode slow for one
//
// The node runs on the first core, the load and the origin on the second. A
// request's time runs from the moment it was due.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

func main() {
	mode := flag.String("mode", "all", "load, slow or all")
	length := flag.Duration("time", 10*time.Second, "length of each measurement")
	conns := flag.Int("connections", 500, "connections of the load")
	slow := flag.Int("slow", 10_000, "slow connections")
	factor := flag.Float64("factor", 5, "offered load at overload, as a multiple of the capacity")
	edits := flag.Int("edits", 400, "edited places of the page: so many that the load's core can keep up with the node's")
	memory := flag.String("memory", "512MiB", "server.max_memory of the node")
	delay := flag.Duration("delay", 10*time.Millisecond, "server.max_queue_delay of the node")
	flag.Parse()
	rig.Main("overload", func() error { return run(*mode, *length, *conns, *slow, *factor, *edits, *memory, *delay) })
}

func run(mode string, length time.Duration, conns, slow int, factor float64, edits int, memory string, delay time.Duration) error {
	n, err := startNode(edits, memory, delay)
	if err != nil {
		return err
	}
	defer n.stop()
	if mode != "slow" {
		if err := measureLoad(n, length, conns, factor); err != nil {
			return err
		}
	}
	if mode != "load" {
		return measureSlow(n, length, slow)
	}
	return nil
}

func measureLoad(n *node, length time.Duration, conns int, factor float64) error {
	l, err := newLoad(n.Site, conns)
	if err != nil {
		return err
	}
	defer l.close()
	l.run(0, length/5) // everything is warm
	most := l.run(0, length)
	fmt.Printf("%-34s %9s %9s %9s %9s %9s %9s %9s\n", "personalized pages", "offered/s", "served/s", "refused/s", "p50 ms", "p99 ms", "errors", "sent late")
	report := func(name string, offered float64, r result) {
		fmt.Printf("%-34s %9.0f %9.0f %9.0f %9.2f %9.2f %9d %9.2f\n", name, offered, r.served, r.refused, ms(r.p50), ms(r.p99), r.errors, ms(r.late))
	}
	report("as many as it can (8 at a time)", most.served, most)
	calm := l.run(0.7*most.served, length)
	report("70 % of that", 0.7*most.served, calm)
	l.run(factor*most.served, length/5) // the limits find their place
	over := l.run(factor*most.served, length)
	report(fmt.Sprintf("%g times that", factor), factor*most.served, over)
	fmt.Printf("p99 at overload : p99 at 70 %% = %.2f (aim: at most 5)\n\n", ms(over.p99)/ms(calm.p99))
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func measureSlow(n *node, length time.Duration, count int) error {
	before, err := n.Memory()
	if err != nil {
		return err
	}
	fmt.Printf("%d slow connections\n%-52s %12s %12s %9s %9s\n", count, "", "memory MiB", "others p50", "p99 ms", "errors")
	for _, kind := range slowKinds {
		s, err := openSlow(n.Site, kind, count)
		if err != nil {
			return err
		}
		l, err := newLoad(n.Site, 16)
		if err != nil {
			return fmt.Errorf("others beside %s: %w", kind.name, err)
		}
		r := l.run(200, length)
		l.close()
		memory, err := n.Memory()
		if err != nil {
			return err
		}
		fmt.Printf("%-52s %12d %12.2f %9.2f %9d\n", fmt.Sprintf("%s (%d still open)", kind.name, s.open()), memory>>20, ms(r.p50), ms(r.p99), r.errors)
		s.close()
	}
	fmt.Printf("memory before: %d MiB, setting: %s\n", before>>20, n.limit)
	return nil
}

// node is a Sedge process with its origin.
type node struct {
	*rig.Node
	limit, dir string
	origin     *rig.Origin
}

const config = `server:
  max_memory: %s
  max_queue_delay: %v
upstreams: [{name: origin, url: "http://%s"}]
routes: [{name: all, upstream: origin}]
segments: [{name: everyone, when: "true"}]
experiences:
  - name: hero
    segment: everyone
    pages: ["/**"]
    edits:
      - {select: "#hero h1", op: set_inner, text: "Welcome back"}
      - {select: main, op: append, html: "<p class=banner>Free delivery this week</p>"}
      - {select: .cta, op: set_attribute, name: data-variant, value: everyone}
`

func startNode(edits int, memory string, delay time.Duration) (*node, error) {
	dir, err := os.MkdirTemp("", "overload")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir, limit: memory}
	if n.origin, err = rig.StartOrigin(rig.Page(edits)); err != nil {
		return nil, err
	}
	binary, err := rig.Build(dir)
	if err != nil {
		return nil, err
	}
	n.Node, err = rig.StartNode(binary, dir, fmt.Sprintf(config, memory, delay, n.origin.Address()))
	return n, err
}

func (n *node) stop() {
	n.Stop()
	n.origin.Stop()
	_ = os.RemoveAll(n.dir)
}
