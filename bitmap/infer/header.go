package infer

import (
	"bytes"
	"math"
	"slices"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/internal/wire"
)

// headerForm is a way to read a header's bytes.
type headerForm struct {
	fields   []bitmap.Field
	constant bool // it has constant bytes
	cost     int
}

// excuses reports whether the constant bytes of the header say more than the body
// of n bytes after it: then the header says nothing but that the file is what it is.
func (f headerForm) excuses(n int64) bool {
	bits := 0
	for _, field := range f.fields {
		bits += information([]byte(field.Bytes))
	}
	return int64(bits) > 8*n
}

const (
	maxForms = 16 // readings of one header
	maxParts = 64 // of one header
)

// pattern is a number as a header would have it.
type pattern struct {
	bytes  string
	small  bool           // below 256: may as well be anything else
	fields []bitmap.Field // all that have these bytes, the likeliest first
}

// explain reads a header as numbers and constant bytes, in the way that takes the
// fewest bits to say. Where numbers of the disk are equal, or are so small that
// they may be something else, each reading is a form of its own.
func explain(header []byte, numbers map[bitmap.FieldKind]int64) []headerForm {
	if len(header) == 0 {
		return []headerForm{{}}
	}
	parts, cost := parseCheapest(header, patterns(numbers))
	if len(parts) > maxParts { // no header, but a file made of the disk's numbers
		parts, cost = []part{{bytes: header}}, math.MaxInt32
	}
	forms := []headerForm{{cost: cost}}
	for _, p := range parts {
		forms = p.extend(forms)
	}
	return forms
}

// part is a piece of a header: constant if there is no number.
type part struct {
	bytes  []byte
	number *pattern
}

// extend appends every reading of the part to every form so far.
func (p part) extend(forms []headerForm) (out []headerForm) {
	constant := bitmap.Field{Kind: bitmap.Constant, Bytes: string(p.bytes)}
	readings := []bitmap.Field{constant}
	if p.number != nil {
		readings = p.number.fields
		if p.number.small {
			readings = append(slices.Clip(readings), constant)
		}
	}
	for i, r := range readings {
		for _, f := range forms {
			f.fields = append(slices.Clip(f.fields), r)
			f.cost += i
			f.constant = f.constant || r.Kind == bitmap.Constant
			out = append(out, f)
		}
	}
	return out[:min(len(out), maxForms)]
}

// patterns are the numbers' bytes in every width and order, by their first byte.
// Zero is left out: it would be found in any run of zeros.
func patterns(numbers map[bitmap.FieldKind]int64) (byFirst [256][]*pattern) {
	all := make(map[string]*pattern)
	for k := bitmap.SizeField; k <= bitmap.EntriesField; k++ {
		for _, width := range []int{8, 4, 2} {
			for _, big := range both {
				var buf [8]byte
				if numbers[k] == 0 || !wire.PutNumber(buf[:width], numbers[k], big) {
					continue
				}
				text := string(buf[:width])
				if all[text] == nil {
					all[text] = &pattern{bytes: text, small: numbers[k] < 256}
					byFirst[text[0]] = append(byFirst[text[0]], all[text])
				}
				all[text].fields = append(all[text].fields, bitmap.Field{Kind: k, Width: width, BigEndian: big})
			}
		}
	}
	return byFirst
}

const (
	constantCost = 4 // to begin constant bytes
	numberCost   = 7 // to name a number's kind, width and order
	unaligned    = 4
)

// step is the cheapest way to read a header from some place on.
type step struct {
	cost   int
	number *pattern // nil: a constant byte
}

// offer takes a number if it costs less, or as much and is wider than what was
// there: zeros before or after a number are part of it.
func (s *step) offer(cost int, p *pattern) {
	if cost < s.cost || cost == s.cost && (s.number == nil || len(p.bytes) > len(s.number.bytes)) {
		*s = step{cost, p}
	}
}

// parseCheapest goes through the header from its end. A constant byte costs
// nothing if it is like the one before it, so that zeros are cheap.
func parseCheapest(h []byte, byFirst [256][]*pattern) (parts []part, cost int) {
	free := make([]step, len(h)+1)   // from here, after a number or at the start
	inside := make([]step, len(h)+1) // from here, within constant bytes
	for i := len(h) - 1; i >= 0; i-- {
		before := byte(0)
		if i > 0 {
			before = h[i-1]
		}
		inside[i].cost = min(inside[i+1].cost, free[i+1].cost)
		if h[i] != before {
			inside[i].cost += 8
		}
		free[i].cost = inside[i].cost + constantCost
		for _, p := range byFirst[h[i]] {
			n := len(p.bytes)
			if !bytes.HasPrefix(h[i:], []byte(p.bytes)) {
				continue
			}
			c := numberCost + free[i+n].cost
			if i%n != 0 {
				c += unaligned
			}
			free[i].offer(c, p)
			inside[i].offer(c, p)
		}
	}
	return walk(h, free, inside), free[0].cost
}

func walk(h []byte, free, inside []step) (parts []part) {
	from := -1 // where constant bytes began
	flush := func(to int) {
		if from >= 0 {
			parts = append(parts, part{bytes: h[from:to]})
		}
		from = -1
	}
	for i := 0; i < len(h); {
		s := free[i]
		if from >= 0 {
			s = inside[i]
		}
		if s.number == nil {
			if from < 0 {
				from = i
			}
			i++
			continue
		}
		flush(i)
		n := len(s.number.bytes)
		parts = append(parts, part{h[i : i+n], s.number})
		i += n
	}
	flush(len(h))
	return parts
}
