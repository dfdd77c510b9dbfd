package vhdx_test

import (
	"io"
	"testing"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/vhdx"
)

func openSource(ra io.ReaderAt, size int64) (qemutest.Image, error) { return vhdx.NewReader(ra, size) }

// Images that are built here, in every order of their blocks.
func TestCorpus(t *testing.T) {
	t.Parallel()
	t.Run("512", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 13, Block: mib},
			func(l qemutest.Layout) *qemutest.File { return l.VHDX(512) }, openSource, "-f", "vhdx", "disk")
	})
	t.Run("4096", func(t *testing.T) {
		qemutest.Corpus(t, qemutest.Layout{Blocks: 13, Block: mib},
			func(l qemutest.Layout) *qemutest.File { return l.VHDX(4096) }, openSource)
	})
}

// Blocks in reverse order, or many tables with little in them: the work is bounded
// for each call, and linear in all.
func TestPathological(t *testing.T) {
	l := qemutest.Layout{Blocks: 1 << 14, Block: mib, Stored: nil}
	f := l.VHDX(512)
	qemutest.Pathological(t, f, openSource, qemutest.Work{CallReads: 2100, Reads: 2 << 14, Memory: 8*f.Len + 16<<20})
}
