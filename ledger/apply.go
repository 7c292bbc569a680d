package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/profile"
	"github.com/sedge-proxy/sedge/profile/bolt"
)

// apply adds a batch of events to profiles, rows and sums, and notes the offset
// behind them.
func apply(tx *bbolt.Tx, events []event.Event, next event.Offset) error {
	meta, rows, totals := tx.Bucket(metaBucket), tx.Bucket(rowsBucket), tx.Bucket(totalsBucket)
	if meta == nil || rows == nil || totals == nil {
		return fmt.Errorf("a bucket is missing: %w", errStructure)
	}
	changes := make(kpi.Totals)
	for _, visits := range byVisitor(events) {
		if err := applyVisitor(tx, rows, visits, changes); err != nil {
			return err
		}
	}
	if err := applyTotals(totals, changes); err != nil {
		return err
	}
	return meta.Put(offsetKey, encodeNumber(uint64(next)))
}

// byVisitor groups events by visitor, each group in the order of the log, and the groups in
// that of the file, where neighbours share a page.
func byVisitor(events []event.Event) [][]*event.Event {
	index := make(map[string]int, len(events)/2)
	groupOf := make([]int, len(events)) // -1: of nobody
	var sizes []int
	for i := range events {
		visitor := events[i].Visitor
		if visitor == "" || len(visitor) > bbolt.MaxKeySize {
			groupOf[i] = -1
			continue
		}
		at, ok := index[visitor]
		if !ok {
			at = len(sizes)
			index[visitor] = at
			sizes = append(sizes, 0)
		}
		groupOf[i] = at
		sizes[at]++
	}
	room := make([]*event.Event, len(events))
	groups := make([][]*event.Event, len(sizes))
	for at, size := range sizes {
		groups[at], room = room[:0:size], room[size:]
	}
	for i, at := range groupOf {
		if at >= 0 {
			groups[at] = append(groups[at], &events[i])
		}
	}
	slices.SortFunc(groups, func(a, b []*event.Event) int { return strings.Compare(a[0].Visitor, b[0].Visitor) })
	return groups
}

// applyVisitor adds one visitor's events, and what they change in the sums to
// changes.
func applyVisitor(tx *bbolt.Tx, rows *bbolt.Bucket, events []*event.Event, changes kpi.Totals) error {
	id := events[0].Visitor
	state, err := bolt.Get(tx, id)
	if err != nil {
		return err
	}
	if state == nil {
		state = &profile.State{}
	}
	row := &kpi.Row{}
	if value := rows.Get([]byte(id)); value != nil {
		if row, err = kpi.DecodeRow(value); err != nil {
			return err
		}
	}
	row.TakeFrom(changes)
	for _, e := range events {
		state.Apply(e)
		row.Apply(e)
	}
	row.AddTo(changes)
	if err := bolt.Put(tx, id, state); err != nil {
		return err
	}
	return rows.Put([]byte(id), row.Append(nil))
}

func applyTotals(totals *bbolt.Bucket, changes kpi.Totals) error {
	for key, change := range changes {
		if change.IsZero() {
			continue
		}
		name := key.Append(nil)
		if value := totals.Get(name); value != nil {
			before, err := kpi.DecodeSums(value)
			if err != nil {
				return err
			}
			change.Add(&before)
		}
		if err := totals.Put(name, change.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// summary reads all sums.
func (d *database) summary(ctx context.Context) (kpi.Summary, error) {
	totals := make(kpi.Totals)
	err := d.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(totalsBucket)
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(name, value []byte) error {
			key, err := kpi.DecodeKey(name)
			if err != nil {
				return err
			}
			sums, err := kpi.DecodeSums(value)
			if err != nil {
				return err
			}
			totals[key] = &sums
			return ctx.Err()
		})
	})
	if err != nil {
		return kpi.Summary{}, fmt.Errorf("read sums: %w", err)
	}
	return totals.Summary(), nil
}
