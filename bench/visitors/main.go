// Command visitors measures what many different visitors cost: a page of 60 KB that is
// kept, edited for the visitor's segment, with signed cookies, profiles, an experiment
// and all that is recorded of it. In one run it measures in turn
//
//	a node with 3 visitors, one with 100 000, and nginx, which keeps the same page
//
// by CPU time per request, that of the ledger included. At the end the ledger's totals must equal the requests that
// were sent, for each visitor; else the program says so and ends with 1.
//
//	go run ./bench/visitors          # -nginx "" leaves nginx out
//
// The nodes and nginx run on the first core, the load and the origin on the second.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

type settings struct {
	visitors, few, requests, rounds, conns, profiles int
	nginx                                            string
}

func main() {
	var s settings
	flag.IntVar(&s.visitors, "visitors", 100_000, "different visitors")
	flag.IntVar(&s.few, "few", 3, "visitors of the node that this is compared with")
	flag.IntVar(&s.requests, "requests", 100_000, "requests of each measurement")
	flag.IntVar(&s.rounds, "rounds", 5, "measurements of each")
	flag.IntVar(&s.conns, "connections", 32, "connections of the load, with a request on each at all times")
	flag.IntVar(&s.profiles, "profiles", 0, "profile.max_entries of the nodes, 0 for the default")
	flag.StringVar(&s.nginx, "nginx", "nginx", "nginx's program; without it the nodes are measured alone")
	flag.Parse()
	rig.Main("visitors", func() error { return run(s) })
}

func run(s settings) error {
	if min(s.visitors, s.few, s.requests, s.rounds, s.conns) < 1 {
		return errors.New("visitors, few, requests, rounds and connections must be at least 1")
	}
	dir, err := os.MkdirTemp("", "visitors")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	origin, err := rig.StartOrigin(rig.Page(products))
	if err != nil {
		return err
	}
	defer origin.Stop()
	binary, err := rig.Build(dir)
	if err != nil {
		return err
	}
	var sites []*site
	defer func() {
		for _, each := range sites {
			each.Stop()
		}
	}()
	for _, count := range []int{s.few, s.visitors} {
		each, err := startSite(binary, filepath.Join(dir, fmt.Sprint(count)), configuration(s.profiles, origin.Address()), count, s.conns)
		if err != nil {
			return err
		}
		sites = append(sites, each)
	}
	peer, err := startPeer(s.nginx, filepath.Join(dir, "nginx"), origin.Address())
	if err != nil {
		return err
	}
	if peer != nil {
		defer peer.Stop()
	}
	if err := measure(sites, peer, s); err != nil {
		return err
	}
	var wrong error
	for _, each := range sites {
		if err := each.check(binary); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("the ledger of the node with %d visitors: %w", len(each.visitors), err))
		}
	}
	return wrong
}

// measure warms everything up, and prints what a request costs in each round.
func measure(sites []*site, peer *peer, s settings) error {
	var names []string
	var cells []func() (float64, error)
	for _, each := range sites {
		names = append(names, fmt.Sprintf("%d visitors", len(each.visitors)))
		cells = append(cells, func() (float64, error) { return each.cost(s.requests, s.conns) })
	}
	if peer != nil {
		names = append(names, "nginx")
		cells = append(cells, func() (float64, error) { return peer.cost(sites[1].visitors, s.requests, s.conns) })
	}
	fmt.Printf("CPU us/request, %d requests each, %d at a time\n%-8s", s.requests, s.conns, "")
	for _, name := range names {
		fmt.Printf(" %16s", name)
	}
	fmt.Printf(" %20s %20s %20s\n", "memory, MiB", "disk, KiB/request", "ledger behind, ms")
	costs := make([][]float64, len(cells))
	for round := range s.rounds + 1 {
		row := make([]float64, len(cells))
		for i := range cells {
			at := (i + round) % len(cells) // none is always the first
			var err error
			if row[at], err = cells[at](); err != nil {
				return fmt.Errorf("%s: %w", names[at], err)
			}
		}
		if round == 0 {
			fmt.Printf("%-8s", "warm-up")
		} else {
			fmt.Printf("%-8d", round)
		}
		for i, cost := range row {
			fmt.Printf(" %16.1f", cost)
			if round > 0 {
				costs[i] = append(costs[i], cost)
			}
		}
		memory, disk, behind := "", "", ""
		for _, each := range sites {
			bytes, err := each.Memory()
			if err != nil {
				return err
			}
			memory += fmt.Sprintf(" %9d", bytes>>20)
			disk += fmt.Sprintf(" %9.2f", float64(each.written)/float64(s.requests)/1024)
			behind += fmt.Sprintf(" %9d", each.drained.Milliseconds())
		}
		fmt.Printf(" %s %s %s\n", memory, disk, behind)
	}
	summary("median", costs, func(v []float64) float64 { return v[len(v)/2] })
	summary("least", costs, func(v []float64) float64 { return v[0] })
	return nil
}

// summary prints a figure of all rounds, and its ratios to that of few visitors and of
// nginx.
func summary(name string, costs [][]float64, of func(sorted []float64) float64) {
	fmt.Printf("%-8s", name)
	var figures []float64
	for _, each := range costs {
		slices.Sort(each)
		figures = append(figures, of(each))
		fmt.Printf(" %16.1f", of(each))
	}
	fmt.Printf("   many : few = %.2f", figures[1]/figures[0])
	if len(figures) > 2 {
		fmt.Printf(", few : nginx = %.2f, many : nginx = %.2f", figures[0]/figures[2], figures[1]/figures[2])
	}
	fmt.Println()
}

// costOf returns the CPU time in us that a process spends on each of so many requests,
// with what it does behind them.
func costOf(p *rig.Process, requests int, work func() error) (float64, error) {
	before, err := p.CPU()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := p.CPU()
	return float64(after-before) / float64(requests) / float64(time.Microsecond), err
}
