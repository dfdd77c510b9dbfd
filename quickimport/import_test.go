package quickimport_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

const realDisk = "../testdata/disk.raw"

// testImporter is a client with options that each of its imports has.
type testImporter struct {
	*quickimport.Client
	opts []quickimport.ImportOption
}

func (c testImporter) Import(ctx context.Context, src quickimport.Source, img quickimport.Image) (*quickimport.Result, error) {
	return c.Client.Import(ctx, src, img, c.opts...)
}

func (c testImporter) Plan(ctx context.Context, src quickimport.Source, img quickimport.Image) (*quickimport.Plan, error) {
	return c.Client.Plan(ctx, src, img, c.opts...)
}

// cloudClient makes a client of the test cloud: an Option is the client's, an
// ImportOption that of its imports.
func cloudClient(t testing.TB, srv *imstest.Server, opts ...any) testImporter {
	t.Helper()
	of := append(srv.Options(), quickimport.WithPolling(time.Millisecond, 20*time.Millisecond),
		quickimport.WithRetryBudget(time.Second), quickimport.WithSettleTime(time.Second))
	var c testImporter
	for _, o := range opts {
		switch o := o.(type) {
		case quickimport.Option:
			of = append(of, o)
		case quickimport.ImportOption:
			c.opts = append(c.opts, o)
		default:
			require.Fail(t, "not an option", "%T", o)
		}
	}
	var err error
	c.Client, err = quickimport.New(of...)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// onProgress calls f with the numbers of an import, and at the begin of each phase.
func onProgress(f func(quickimport.Progress)) quickimport.ImportOption {
	return quickimport.WithEvents(func(e quickimport.Event) {
		switch e := e.(type) {
		case quickimport.PhaseStarted:
			f(quickimport.Progress{EventHeader: e.EventHeader, Phase: e.Phase})
		case quickimport.Progress:
			f(e)
		}
	})
}

func demo(bucket string) quickimport.Image {
	return quickimport.Image{Name: "demo 1", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: bucket}
}

func diskHash(t *testing.T, r io.Reader) [32]byte {
	t.Helper()
	h := sha256.New()
	_, err := io.Copy(h, r)
	require.NoError(t, err)
	return [32]byte(h.Sum(nil))
}

// nothingLeft holds that a failed import left no object, no unfinished upload and no image.
func nothingLeft(t *testing.T, srv *imstest.Server) {
	t.Helper()
	require.Empty(t, srv.Objects(srv.Bucket()))
	require.Empty(t, srv.UnfinishedUploads())
	require.Empty(t, srv.Images())
}

func TestImportZVHD2(t *testing.T) {
	srv := imstest.NewServer(t)
	var mu sync.Mutex
	var phases []quickimport.Phase
	var last quickimport.Progress
	c := cloudClient(t, srv, onProgress(func(e quickimport.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if len(phases) == 0 || phases[len(phases)-1] != e.Phase {
			phases = append(phases, e.Phase)
		}
		if e.Phase == quickimport.PhaseUpload {
			last = e
		}
	}))
	res, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Equal(t, "demo-1.zvhd2", res.Key)
	require.Len(t, srv.Images(), 1)
	require.Equal(t, res.ImageID, srv.Images()[0].ID)

	object, err := srv.ReadObject(res.Bucket, res.Key)
	require.NoError(t, err)
	require.EqualValues(t, len(object), res.ObjectBytes)
	zr, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
	require.NoError(t, err)
	f, err := os.Open(realDisk)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, diskHash(t, f), diskHash(t, io.NewSectionReader(zr, 0, zr.Size())))

	require.Equal(t, []quickimport.Phase{quickimport.PhasePreflight, quickimport.PhaseUpload, quickimport.PhaseVerify, quickimport.PhaseCreate, quickimport.PhaseJob}, phases)
	require.Equal(t, res.SourceBytes, last.Done)
	require.Equal(t, res.WireBytes, last.Sent)
	require.Equal(t, res.SourceBytes, zr.Size())

	_, err = c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrNameTaken)
}

func TestImportRaw(t *testing.T) {
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv, quickimport.WithFormat(quickimport.FormatRaw))
	img := demo(srv.Bucket())
	img.Key = "images/demo.raw"
	res, err := c.Import(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	object, err := srv.ReadObject(res.Bucket, res.Key)
	require.NoError(t, err)
	want, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, object))
	mf, err := srv.ReadObject(res.Bucket, "images/demo.mf")
	require.NoError(t, err)
	require.Len(t, mf, 4096)
}

// More than one part, data that does not compress, a size that no block divides.
func TestImportManyParts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "big.raw")
	data := noise(33<<20 + 512)
	clear(data[8<<20 : 20<<20])
	require.NoError(t, os.WriteFile(name, data, 0o600))
	srv := imstest.NewServer(t)
	res, err := cloudClient(t, srv, quickimport.WithPartSize(5<<20), quickimport.WithConcurrency(3)).Import(t.Context(), quickimport.File(name), demo(srv.Bucket()))
	require.NoError(t, err)
	object, err := srv.ReadObject(res.Bucket, res.Key)
	require.NoError(t, err)
	zr, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(data), diskHash(t, io.NewSectionReader(zr, 0, zr.Size())))
}

func TestImportRefusedBeforeAnythingIsSent(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, size int64, head string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(head), 0o600))
		if size > 0 {
			require.NoError(t, os.Truncate(p, size))
		}
		return p
	}
	tests := map[string]struct {
		file string
		edit func(*quickimport.Image)
		is   error
		text string
	}{
		"missing":        {filepath.Join(dir, "nope"), nil, os.ErrNotExist, ""},
		"directory":      {dir, nil, nil, "not a regular file"},
		"empty":          {file("empty", 0, ""), nil, nil, "empty"},
		"qcow2":          {file("q.raw", 1<<20, "QFI\xfb\x00\x00\x00\x03"), nil, nil, "qcow2"},
		"cut short":      {cutShort(t), nil, rawimage.ErrTruncated, ""},
		"over 1 TB":      {file("huge", 1<<40+1, "x"), nil, quickimport.ErrValidation, "IMG.0059"},
		"min_disk small": {file("3g", 3<<30, "x"), func(m *quickimport.Image) { m.MinDisk = 2 }, quickimport.ErrValidation, "3 GB"},
		"bad tag":        {realDisk, func(m *quickimport.Image) { m.Tags = []string{"nodot"} }, quickimport.ErrValidation, "tags"},
		"no such bucket": {realDisk, func(m *quickimport.Image) { m.Bucket = "not-there" }, uploader.ErrNoSuchBucket, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := imstest.NewServer(t)
			img := demo(srv.Bucket())
			if tt.edit != nil {
				tt.edit(&img)
			}
			_, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(tt.file), img)
			require.Error(t, err)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			var v *quickimport.ValidationError
			if tt.text != "IMG.0059" {
				require.Contains(t, err.Error(), tt.text)
			} else {
				require.ErrorAs(t, err, &v)
				require.Equal(t, tt.text, v.Problems[0].Code)
			}
			nothingLeft(t, srv)
		})
	}
}

// cutShort is the real disk without its second half.
func cutShort(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(realDisk)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "cut.raw")
	require.NoError(t, os.WriteFile(name, data[:len(data)/2], 0o600))
	return name
}

func TestImportWithWrongCredentials(t *testing.T) {
	srv := imstest.NewServer(t)
	wrong := quickimport.StaticCredentials(quickimport.Credentials{AccessKey: srv.AccessKey(), SecretKey: "wrong-secret"})
	_, err := cloudClient(t, srv, quickimport.WithCredentials(wrong)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrAuthentication)
	require.NotContains(t, err.Error(), "wrong-secret")
	nothingLeft(t, srv)
}

func TestImportKeepsAnObjectThatIsThere(t *testing.T) {
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv)
	img := demo(srv.Bucket())
	img.Key = "k.zvhd2"
	_, err := c.Import(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
	img.Name = "demo 2"
	_, err = c.Import(t.Context(), quickimport.File(realDisk), img)
	require.ErrorIs(t, err, quickimport.ErrObjectExists)
	_, err = cloudClient(t, srv, quickimport.WithOverwrite()).Import(t.Context(), quickimport.File(realDisk), img)
	require.NoError(t, err)
}

func TestImportCancelled(t *testing.T) {
	srv := imstest.NewServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := cloudClient(t, srv, onProgress(func(e quickimport.Progress) {
		if e.Phase == quickimport.PhaseUpload && e.Done > 0 {
			cancel()
		}
	}))
	_, err := c.Import(ctx, quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, context.Canceled)
	nothingLeft(t, srv)
}

// noise is a disk that starts like one for a BIOS, and does not compress.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	if n >= 512 {
		clear(data[446:510])
		copy(data[510:], "\x55\xaa")
	}
	return data
}

// warningTexts is what warnings say, a line each.
func warningTexts(ws []quickimport.Warning) string {
	var texts []string
	for _, w := range ws {
		texts = append(texts, string(w.Code)+": "+w.Text)
	}
	return strings.Join(texts, "\n")
}
