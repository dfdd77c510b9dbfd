package zvhd2

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Kind says what a [Problem] is about.
type Kind string

// The kinds of problems, by structure.
const (
	KindFile      Kind = "file"        // the file's length or its end
	KindHeader    Kind = "header"      // the structure at offset 0
	KindFooter    Kind = "footer"      // the structure at the end
	KindEndOfData Kind = "end-of-data" // the structure after the records
	KindIndex     Kind = "index"       // the places of the records
	KindBitmap    Kind = "bitmap"      // which blocks are stored
	KindRecord    Kind = "record"      // what surrounds a payload
	KindPayload   Kind = "payload"     // what does not decompress to a block
	KindContent   Kind = "content"     // what differs from the reference disk
	KindWaste     Kind = "waste"       // bytes that nothing needs; only in notes
)

// MaxProblems is the largest number of problems that a [Report] lists.
const MaxProblems = 1000

// Problem is one thing wrong with a file, or one thing worth a note.
type Problem struct {
	Kind    Kind   `json:"kind"`    // the structure concerned
	Block   int64  `json:"block"`   // the first block concerned, or NoBlock
	Offset  int64  `json:"offset"`  // in the file; for KindContent in the disk
	Field   string `json:"field"`   // as the format names it
	Count   int64  `json:"count"`   // of KindContent: blocks in a row that differ; of a note: places like this one, the first
	Message string `json:"message"` // what is wrong, in a sentence
	Err     error  `json:"-"`       // a *FormatError, unless the kind is KindContent
}

// Report is what [Verify] found.
type Report struct {
	Format   string    `json:"format"`    // "zvhd2", "zvhd", or empty
	Size     int64     `json:"size"`      // bytes of the disk
	FileSize int64     `json:"file_size"` // bytes of the container
	Blocks   int64     `json:"blocks"`    // of the disk
	Stored   int64     `json:"stored"`    // of these, found stored
	Checked  int64     `json:"checked"`   // of these, payloads that decompress to a block
	Compared bool      `json:"compared"`  // content was compared with the reference disk, as far as it could be read
	Problems []Problem `json:"problems"`  // by offset, up to MaxProblems
	Omitted  int64     `json:"omitted"`   // problems beyond those
	Notes    []Problem `json:"notes"`     // harmless deviations, one of a kind, such as what the vendor's tool leaves in unused bytes
}

// OK reports whether nothing is wrong. Notes do not count.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// Verify checks the ZVHD2 or ZVHD file of size bytes in ra: every structure and
// every payload, payloads in parallel. It continues after a problem as far as
// what is intact allows; where the index cannot be used it walks the records.
// The error is for I/O, options and the context only; what is wrong with the
// file is in the report. When ctx ends Verify returns at once, even while ra is
// blocked.
//
// Verify uses [WithWorkers], [WithProgress] and [WithReference].
func Verify(ctx context.Context, ra io.ReaderAt, size int64, opts ...Option) (*Report, error) {
	o, err := newOptions(opts, optWorkers|optProgress|optReference)
	if err != nil {
		return nil, err
	}
	f, err := newFile(ra, size)
	if err != nil {
		return nil, err
	}
	m := startMeter(0, o.progress)
	defer m.stop()
	return await(ctx, func() (*Report, error) {
		v := &verifier{
			o: o, file: f, meter: m, notes: make(map[noteKey]int),
			rep: &Report{FileSize: size, Problems: []Problem{}, Notes: []Problem{}},
		}
		if err := v.run(ctx); err != nil {
			return nil, err
		}
		return v.report(), nil
	})
}

// verifier collects what is found.
type verifier struct {
	o     *options
	file  file
	meter *meter
	zvhd  bool

	mu    sync.Mutex // guards the rest while workers run
	rep   *Report
	notes map[noteKey]int // positions in rep.Notes
	diff  differences
}

type noteKey struct {
	kind  Kind
	field string
}

func (v *verifier) run(ctx context.Context) error {
	head, err := v.header()
	if err != nil {
		return err
	}
	if head != nil && head.zvhd {
		return v.stream(ctx, head)
	}
	foot, t, err := v.indexFooter(head)
	if err != nil {
		return err
	}
	if t != nil {
		return v.container(ctx, t)
	}
	return v.walk(ctx, head, foot)
}

// report completes the report.
func (v *verifier) report() *Report {
	v.addDifferences()
	for i := range v.rep.Notes {
		if n := &v.rep.Notes[i]; n.Count > 1 {
			n.Message += fmt.Sprintf(" (and %d more places like this)", n.Count-1)
		}
	}
	for _, list := range [][]Problem{v.rep.Problems, v.rep.Notes} {
		slices.SortStableFunc(list, func(a, b Problem) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return v.rep
}

// problem files err as a problem and returns nil, or returns err if it is not
// about the file.
func (v *verifier) problem(err error) error {
	fe := asFormatError(err)
	if fe == nil {
		return err // nil too
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(v.finding(fe))
	return nil
}

// add lists a problem, with v.mu held.
func (v *verifier) add(p Problem) {
	if len(v.rep.Problems) < MaxProblems {
		v.rep.Problems = append(v.rep.Problems, p)
	} else {
		v.rep.Omitted++
	}
}

// note files what is harmless, once for all places like it.
func (v *verifier) note(fe *FormatError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.finding(fe)
	key := noteKey{p.Kind, p.Field}
	i, ok := v.notes[key]
	if !ok {
		v.notes[key] = len(v.rep.Notes)
		v.rep.Notes = append(v.rep.Notes, p)
		return
	}
	p.Count = v.rep.Notes[i].Count + 1
	if p.Offset > v.rep.Notes[i].Offset {
		v.rep.Notes[i].Count++
		return
	}
	v.rep.Notes[i] = p
}

func (v *verifier) finding(fe *FormatError) Problem {
	return Problem{
		Kind: v.kind(fe), Block: fe.Block, Offset: fe.Offset, Field: fe.Field, Count: 1, Message: fe.Error(), Err: fe,
	}
}

// kind classifies an error, by its field or else by which copy of the footer
// structure it is in.
func (v *verifier) kind(fe *FormatError) Kind {
	switch fe.Field {
	case "record.padding", "record.zeros", "records", "trailing":
		return KindWaste
	case "file":
		return KindFile
	}
	structure, _, _ := strings.Cut(fe.Field, ".")
	switch structure {
	case "payload":
		return KindPayload
	case "record":
		return KindRecord
	case "index":
		return KindIndex
	case "bitmap":
		return KindBitmap
	}
	switch {
	case fe.Offset < pageSize:
		return KindHeader
	case fe.Offset >= v.file.size-pageSize && !v.zvhd:
		return KindFooter
	}
	return KindEndOfData
}
