package qcow2

import (
	"errors"
	"fmt"
	"io"

	"github.com/fastimage/fastimage/internal/sparse"
)

// What one call of NextData does at most. A longer range comes in several that
// touch. Past maxEmptySteps runs of clusters without data, the next is called
// data, which it may be: a disk of many tiny tables does not have all of them
// read for one question.
const (
	maxRunSteps   = 256 // slices of L2 tables; with the usual clusters 128 GiB of disk
	maxEmptySteps = 4096
)

// NextData returns the first range of data [start, end) that ends after off,
// clipped to begin at off: clusters stored, compressed or not, here or in a
// backing file. Everything outside such ranges reads as zeros. A long range may
// come in several that touch. The error is [io.EOF] when no data follows.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if r.closed.Load() {
		return 0, 0, ErrClosed
	}
	if start, end, ok := r.lastRun.At(off); ok {
		return start, end, nil
	}
	start, end, err = sparse.NextData(finder{r}, off, r.Size())
	if err == nil {
		r.lastRun.Set(off, start, end)
	}
	return start, end, err
}

// finder is a Reader before the contract of sources with holes is enforced.
type finder struct{ *Reader }

func (r finder) NextData(off int64) (start, end int64, err error) {
	start, end, next, err := r.findData(off)
	if err != nil {
		return 0, 0, err
	}
	for steps := 0; next == end && end < r.Size() && steps < maxRunSteps; steps++ {
		s, e, n, err := r.stepData(end)
		if err != nil || s != end || s == e {
			// An error shows when the caller gets there.
			break
		}
		end, next = e, n
	}
	return start, end, nil
}

// findData is the first data that ends after off, as stepData returns it.
func (r *Reader) findData(off int64) (start, end, next int64, err error) {
	next = off
	for steps := 0; next < r.Size(); steps++ {
		from := next
		start, end, next, err = r.stepData(from)
		if err == nil && start == end && steps >= maxEmptySteps {
			return from, next, next, nil
		}
		if err != nil || start < end {
			return start, end, next, err
		}
	}
	return 0, 0, 0, io.EOF
}

// stepData looks at the run of clusters off is in: the data found there, which
// may be none, and where to look next.
func (r *Reader) stepData(off int64) (start, end, next int64, err error) {
	k, runEnd, err := r.run(off)
	switch {
	case err != nil:
		return 0, 0, 0, err
	case k == kindData:
		return off, runEnd, runEnd, nil
	case k == kindZero, r.backing == nil, off >= r.backing.Size():
		return off, off, runEnd, nil
	}
	start, end, err = r.backing.NextData(off)
	switch {
	case errors.Is(err, io.EOF):
		return off, off, runEnd, nil
	case err != nil:
		return 0, 0, 0, fmt.Errorf("qcow2: backing file: %w", err)
	case start >= runEnd:
		return off, off, runEnd, nil
	}
	end = min(end, runEnd)
	return start, end, end, nil
}
