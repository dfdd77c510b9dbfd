package infer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/bitmap/infer"
)

// drawn is a disk whose data is where a bitmap says so.
type drawn struct{ *bitmap.Bitmap }

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

func layout(t testing.TB, text string) bitmap.Layout {
	t.Helper()
	l, err := bitmap.ParseLayout(text)
	require.NoError(t, err)
	return l
}

// draw makes a disk with runs of data at random places.
func draw(t testing.TB, rng *rand.Rand, size int64, runs int) drawn {
	t.Helper()
	b, err := bitmap.New(size, 4*kib)
	require.NoError(t, err)
	for range runs {
		at := rng.Int64N(b.Blocks())
		b.SetRange(at, at+1+rng.Int64N(4))
	}
	return drawn{b}
}

// encodeAs is the disk's bitmap in a layout.
func (d drawn) encodeAs(t testing.TB, l bitmap.Layout) ([]byte, error) {
	t.Helper()
	b, err := d.Resize(l.BlockSize)
	require.NoError(t, err)
	var buf bytes.Buffer
	err = b.Encode(&buf, l)
	return buf.Bytes(), err
}

func inferred(t testing.TB, d drawn, mf []byte) *infer.Result {
	t.Helper()
	res, err := infer.Layouts(t.Context(), d.Bitmap, bytes.NewReader(mf))
	require.NoError(t, err)
	checkResult(t, d, mf, res)
	return res
}

// checkResult checks what a Result promises: every layout reproduces the
// file, by way of its text too, none is there twice, the best is the first to be
// printed.
func checkResult(t testing.TB, d drawn, mf []byte, res *infer.Result) {
	t.Helper()
	require.Equal(t, min(res.Total, 64), len(res.Layouts))
	require.Equal(t, len(res.Layouts) > 1, len(res.Undecided) > 0, "%v", res.Undecided)
	seen := make(map[string]bool)
	for _, l := range res.Layouts {
		text := l.String()
		require.False(t, seen[text], "%s twice", text)
		seen[text] = true
		again, err := bitmap.ParseLayout(text)
		require.NoError(t, err, text)
		require.True(t, again.Equal(l), text)
		got, err := d.encodeAs(t, again)
		require.NoError(t, err, text)
		require.True(t, bytes.Equal(mf, got), "%s gives other bytes", text)
	}
	if len(res.Layouts) > 0 {
		require.Nil(t, res.Closest)
		return
	}
	if c := res.Closest; c != nil {
		got, err := d.encodeAs(t, c.Layout)
		require.NoError(t, err, "%s", c.Layout)
		require.Equal(t, int64(len(mf)), c.FileSize)
		require.Equal(t, c.Differs, differing(mf, got), "%s", c.Layout)
		require.Positive(t, c.Differs)
	}
}

func differing(a, b []byte) int64 {
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return int64(n)
}

func texts(layouts []bitmap.Layout) (all []string) {
	for _, l := range layouts {
		all = append(all, l.String())
	}
	return all
}

func randomField(rng *rand.Rand) string {
	if rng.IntN(3) == 0 {
		return fmt.Sprintf("hex:%08x", rng.Uint32()|0x81000081)
	}
	kinds := []string{"size:u64", "sectors:u64", "block:u32", "block:u64", "blocks:u32", "blocks:u64", "data:u32", "entries:u32", "block:u32"}
	return kinds[rng.IntN(len(kinds))] + pick(rng, "le", "be")
}

func pick(rng *rand.Rand, s ...string) string { return s[rng.IntN(len(s))] }

// randomLayout writes the text of one, of everything that Infer looks for.
func randomLayout(rng *rand.Rand) string {
	block := 4 * kib << rng.IntN(14)
	var s string
	switch kind := pick(rng, "bits", "runs", "list"); kind {
	case "bits":
		s = fmt.Sprintf("bits,block=%d,order=%s,data=%s,fill=%s", block, pick(rng, "lsb", "msb"), pick(rng, "0", "1"), pick(rng, "0", "1"))
	case "runs":
		s = fmt.Sprintf("runs,block=%d,first=%s", block, pick(rng, "hole", "data"))
	case "list":
		s = fmt.Sprintf("list,block=%d,of=%s", block, pick(rng, "holes", "data"))
	}
	if s[0] != 'b' {
		s += fmt.Sprintf(",number=%s,unit=%s,tail=%s", pick(rng, "u32le", "u32be", "u64le", "u64be"), pick(rng, "1", "512", "block"), pick(rng, "clip", "whole"))
	}
	s += fmt.Sprintf(",pad=%d%s", 1<<rng.IntN(14), pick(rng, "", "/file"))
	if n := rng.IntN(4); n > 0 {
		s += ",header="
		for i := range n {
			if i > 0 {
				s += "+"
			}
			s += randomField(rng)
		}
	}
	return s
}

// plain is the layout without what makes no difference on any disk: padding to
// what the body's length is a multiple of anyway, or to parts of the header's, and
// the tail of blocks that are counted whole.
func plain(l bitmap.Layout) bitmap.Layout {
	if l.Encoding != bitmap.Bits && l.Unit == l.BlockSize {
		l.Clip = false
	}
	if l.HeaderLen()%l.Pad == 0 {
		l.PadHeader = false
	}
	unit := map[bitmap.Encoding]int{bitmap.Bits: 1, bitmap.Runs: l.Width, bitmap.List: 2 * l.Width}[l.Encoding]
	if !l.PadHeader && l.Pad <= int64(unit) {
		l.Pad = 1
	}
	return l
}

// Whatever the layout, one is found that writes the same bytes; where the disk
// has enough on it to tell, it is the one.
func TestLayoutsRandom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	exact, tried := 0, 0
	for tried < 60 {
		text := randomLayout(rng)
		l := layout(t, text)
		// From 150 to 1500 blocks, the last one often short.
		size := l.BlockSize*(150+rng.Int64N(1350)) + rng.Int64N(2)*512*rng.Int64N(l.BlockSize/512)
		d := draw(t, rng, size, 40)
		mf, err := d.encodeAs(t, l)
		if err != nil {
			continue // it does not fit into 32 bits
		}
		tried++
		res := inferred(t, d, mf)
		require.NotEmpty(t, res.Layouts, "%s, %d bytes", l, size)
		require.False(t, res.Weak)
		if slices.Contains(texts(res.Layouts), plain(l).String()) {
			exact++
		} else {
			t.Logf("%s is not among %d, the first is %s", plain(l), res.Total, res.Layouts[0])
		}
		for _, got := range res.Layouts { // never another body
			require.Equal(t, l.BlockSize, got.BlockSize, "%s: %s", l, got)
			require.Equal(t, l.Encoding, got.Encoding, "%s: %s", l, got)
		}
	}
	// The rest are headers whose bytes have two readings.
	require.Greater(t, exact, tried*9/10)
}

func constantBytes(l bitmap.Layout) (n int) {
	for _, f := range l.Header {
		n += len(f.Bytes)
	}
	return n
}

// Small and odd disks tell little; what is found reproduces them all the same.
func TestLayoutsSmall(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	for range 40 {
		l := layout(t, randomLayout(rng))
		d := draw(t, rng, 1+rng.Int64N(8*l.BlockSize), rng.IntN(3))
		mf, err := d.encodeAs(t, l)
		if err != nil || len(mf) == 0 {
			continue
		}
		bare := l
		bare.Header, bare.Pad = nil, 1
		body, err := d.encodeAs(t, bare)
		require.NoError(t, err)
		if constantBytes(l) > len(body) {
			continue // such a header would explain any file
		}
		require.NotEmpty(t, inferred(t, d, mf).Layouts, "%s, %d bytes", l, d.Size())
	}
}

func TestLayoutsTable(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	d := draw(t, rng, 3*gib+5*mib+512, 60)
	d.Set(d.Blocks()-1, true) // a short block at the end for most
	for _, text := range []string{
		"default",
		"bits,block=1M,order=msb,data=0,pad=512,fill=1",
		"bits,block=4K,pad=1,header=hex:4d463031+block:u32le+blocks:u64be+size:u64le",
		"bits,block=2M,pad=4096,header=hex:4d46+hex:00*4094",
		"bits,block=64K,order=msb,pad=1,header=hex:4d46+hex:00*14+size:u64be+blocks:u64le",
		"runs,block=64K,number=u32be,header=entries:u32be",
		"runs,block=4K,first=data,number=u64le,unit=1",
		"list,block=1M,number=u64le,unit=1,tail=clip,header=size:u64le",
		"list,block=2M,of=holes,number=u32be,unit=512,pad=4096/file,header=hex:4d46303100000002",
	} {
		t.Run(text, func(t *testing.T) {
			l := layout(t, text)
			mf, err := d.encodeAs(t, l)
			require.NoError(t, err)
			res := inferred(t, d, mf)
			require.Equal(t, l.String(), res.Layouts[0].String(), "%v", texts(res.Layouts))
			require.False(t, res.Weak)
		})
	}
}

// A disk without data, and one full of it: many layouts, the likeliest first,
// and it says that they are guesses.
func TestLayoutsAmbiguous(t *testing.T) {
	t.Parallel()
	empty, err := bitmap.New(64*mib, 4*kib)
	require.NoError(t, err)
	res := inferred(t, drawn{empty}, make([]byte, 4096))
	require.True(t, res.Layouts[0].Equal(bitmap.DefaultLayout()), "%v", texts(res.Layouts))
	require.True(t, res.Weak)
	require.Contains(t, res.Undecided, "block")
	require.Contains(t, res.Undecided, "order")
	require.Greater(t, res.Total, 10)

	full, err := empty.Resize(empty.BlockSize())
	require.NoError(t, err)
	full.SetRange(0, full.Blocks())
	mf, err := drawn{full}.encodeAs(t, bitmap.DefaultLayout())
	require.NoError(t, err)
	res = inferred(t, drawn{full}, mf)
	require.True(t, res.Layouts[0].Equal(bitmap.DefaultLayout()), "%v", texts(res.Layouts))
	require.Contains(t, res.Undecided, "order")

	// 64 GiB are one whole segment: nothing tells the padding.
	d := draw(t, rand.New(rand.NewPCG(1, 1)), 64*gib, 100)
	mf, err = d.encodeAs(t, bitmap.DefaultLayout())
	require.NoError(t, err)
	res = inferred(t, d, mf)
	require.True(t, res.Layouts[0].Equal(bitmap.DefaultLayout()))
	require.ElementsMatch(t, []string{"pad", "fill"}, res.Undecided)
	require.False(t, res.Weak)
	require.Equal(t, 26, res.Total)

	// Next to a file that needs no header, none of zeros is made up.
	one, err := bitmap.New(tib, 4*kib)
	require.NoError(t, err)
	one.Set(one.Blocks()/2, true)
	mf, err = drawn{one}.encodeAs(t, bitmap.DefaultLayout())
	require.NoError(t, err)
	res = inferred(t, drawn{one}, mf)
	require.True(t, res.Layouts[0].Equal(bitmap.DefaultLayout()))
	require.True(t, res.Weak)
	require.ElementsMatch(t, []string{"pad", "fill"}, res.Undecided)

	// As many blocks with data as blocks in all: which is it that the header has?
	mf, err = drawn{full}.encodeAs(t, layout(t, "bits,block=4K,pad=1,header=data:u32le"))
	require.NoError(t, err)
	res = inferred(t, drawn{full}, mf)
	require.Contains(t, texts(res.Layouts), "bits,block=4K,order=lsb,data=1,pad=1,fill=0,header=blocks:u32le")
	require.Contains(t, texts(res.Layouts), "bits,block=4K,order=lsb,data=1,pad=1,fill=0,header=data:u32le")
	require.Contains(t, res.Undecided, "header")
}

func TestLayoutsNone(t *testing.T) {
	t.Parallel()
	d := draw(t, rand.New(rand.NewPCG(2, 2)), 4*gib, 200)
	for _, text := range []string{"default", "bits,block=64K,order=msb,header=size:u64le,pad=4096", "runs,block=1M,number=u32be,pad=1", "list,block=2M,number=u64le,unit=1,pad=1"} {
		l := layout(t, text)
		mf, err := d.encodeAs(t, l)
		require.NoError(t, err)
		mf[9] ^= 0x10 // one byte of another image
		res := inferred(t, d, mf)
		require.Empty(t, res.Layouts, "%v", texts(res.Layouts))
		require.NotNil(t, res.Closest)
		require.Equal(t, l.String(), res.Closest.Layout.String())
		require.Equal(t, infer.Closest{Layout: res.Closest.Layout, Differs: 1, Offset: 9, FileSize: int64(len(mf))}, *res.Closest)
	}
}

// On a disk of so few blocks that any body fits somewhere, the file of another
// layout with changed bytes is not explained by a header of constant bytes.
func TestLayoutsNoneOnSmallDisk(t *testing.T) {
	t.Parallel()
	d := draw(t, rand.New(rand.NewPCG(8, 8)), 64*mib, 12)
	mf, err := d.encodeAs(t, layout(t, "list,block=1M,number=u64be,unit=512,header=hex:4d463031+size:u64be"))
	require.NoError(t, err)
	copy(mf[30:], "XXXX")
	res := inferred(t, d, mf)
	require.Empty(t, res.Layouts, "%v", texts(res.Layouts))
	require.LessOrEqual(t, res.Closest.Differs, int64(len(mf)))
}

func TestLayoutsRefuses(t *testing.T) {
	t.Parallel()
	d := draw(t, rand.New(rand.NewPCG(3, 3)), 64*mib, 20)
	var fe *bitmap.FormatError
	_, err := infer.Layouts(t.Context(), d.Bitmap, strings.NewReader(""))
	require.ErrorAs(t, err, &fe)
	require.ErrorIs(t, err, bitmap.ErrTruncated)
	endless := iotest.DataErrReader(zeroReader{})
	_, err = infer.Layouts(t.Context(), d.Bitmap, endless)
	require.ErrorAs(t, err, &fe)
	require.Less(t, fe.Offset, int64(32*mib))

	boom := fmt.Errorf("boom")
	_, err = infer.Layouts(t.Context(), d.Bitmap, iotest.ErrReader(boom))
	require.ErrorIs(t, err, boom)
	coarse, err := d.Resize(2 * mib)
	require.NoError(t, err)
	for _, b := range []*bitmap.Bitmap{nil, coarse} {
		_, err = infer.Layouts(t.Context(), b, strings.NewReader("x"))
		require.ErrorIs(t, err, fs.ErrInvalid)
		require.NotErrorIs(t, err, bitmap.ErrDamaged)
	}
	_, err = infer.Layouts(t.Context(), d.Bitmap, nil)
	require.ErrorIs(t, err, fs.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = infer.Layouts(ctx, d.Bitmap, strings.NewReader("x"))
	require.ErrorIs(t, err, context.Canceled)
}

// A file that has nothing to do with the disk is not explained by a header that is
// the file itself, or nearly.
func TestLayoutsOfTextFile(t *testing.T) {
	t.Parallel()
	empty, err := bitmap.New(64*mib, 4*kib)
	require.NoError(t, err)
	full, err := bitmap.New(64*mib, 4*kib)
	require.NoError(t, err)
	full.SetRange(0, full.Blocks())
	for _, b := range []*bitmap.Bitmap{empty, full, draw(t, rand.New(rand.NewPCG(1, 2)), 64*mib, 3).Bitmap} {
		for _, text := range []string{"h", "hello", "hello\n", "hello\x00", "hello\xff", "hell\x01", "This is no bitmap.\n"} {
			res := inferred(t, drawn{b}, []byte(text))
			require.Empty(t, res.Layouts, "%q: %v", text, texts(res.Layouts))
		}
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Files made to be searched for long: all the same bytes, the disk's own numbers
// over and over, random ones.
func TestLayoutsHostile(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 4))
	numbers := make([]byte, 0, mib)
	for len(numbers) < mib {
		numbers = binary.LittleEndian.AppendUint32(numbers, 2*mib)
		numbers = binary.LittleEndian.AppendUint64(numbers, 16*gib)
	}
	noise := make([]byte, mib)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	headed := slices.Concat(noise[:32*kib], make([]byte, 64*kib))
	for name, mf := range map[string][]byte{
		"zeros": make([]byte, mib), "ones": bytes.Repeat([]byte{0xff}, mib), "numbers": numbers, "noise": noise,
		"numbers and zeros": slices.Concat(numbers[:32*kib], make([]byte, 64*kib)), "noise and zeros": headed, "a byte": {1},
	} {
		for _, runs := range []int{0, 1, 3000} {
			d := draw(t, rng, 16*gib, runs)
			start := time.Now()
			res := inferred(t, d, mf)
			t.Logf("%s, %d runs: %d layouts, %v", name, runs, res.Total, time.Since(start).Round(time.Millisecond))
		}
	}
}

// A cancelled search ends though there is much to search.
func TestLayoutsCancel(t *testing.T) {
	t.Parallel()
	d := draw(t, rand.New(rand.NewPCG(6, 6)), tib, 20000)
	mf := make([]byte, 32*mib)
	for i := range mf {
		mf[i] = byte(i*i>>8) | 1
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := infer.Layouts(ctx, d.Bitmap, bytes.NewReader(mf))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
