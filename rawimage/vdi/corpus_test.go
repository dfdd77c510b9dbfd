package vdi_test

import (
	"io"
	"testing"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vdi"
)

func openSource(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vdi.NewReader(ra, size) }

// Images that are built here, in every order of their blocks.
func TestCorpus(t *testing.T) {
	t.Parallel()
	t.Run("VDI", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 13, Block: mib},
			func(l qemutest.Layout) *qemutest.File { return l.VDI() }, openSource, "-f", "vdi", "disk")
	})
	t.Run("small blocks", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 1009, Block: 512},
			func(l qemutest.Layout) *qemutest.File { return l.VDI() }, openSource)
	})
}

// Blocks in reverse order, or many tables with little in them: the work is bounded
// for each call, and linear in all.
func TestPathological(t *testing.T) {
	l := qemutest.Layout{Blocks: 1 << 18, Block: 512, Stored: qemutest.Reversed(1<<18, 8)}
	f := l.VDI()
	qemutest.Pathological(t, f, openSource, qemutest.Work{CallReads: 2100, Reads: 2 << 18, Memory: 8*f.Len + 16<<20})
}
