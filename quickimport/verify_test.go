package quickimport_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/zvhd2"
)

// Between the upload and its check, something else takes the object's place: each
// difference is found, the service is not asked, and nothing is created.
func TestVerificationFindsEachDifference(t *testing.T) {
	t.Parallel()
	disk := append(noise(5<<20), make([]byte, 3<<20)...)
	encode := func(t *testing.T, data []byte, opts ...zvhd2.Option) []byte {
		var b bytes.Buffer
		_, err := zvhd2.Encode(t.Context(), &b, bytes.NewReader(data), int64(len(data)), opts...)
		require.NoError(t, err)
		return b.Bytes()
	}
	// same re-encodes the disk with the identity of the object that was written.
	same := func(t *testing.T, object, data []byte, opts ...zvhd2.Option) []byte {
		zr, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
		require.NoError(t, err)
		defer zr.Close()
		info := zr.Info()
		return encode(t, data, append([]zvhd2.Option{zvhd2.WithUUID(info.UUID), zvhd2.WithTimestamp(info.Created)}, opts...)...)
	}
	larger := append(bytes.Clone(disk), make([]byte, 2<<20)...)
	fewer := bytes.Clone(disk)
	clear(fewer[:2<<20])
	for name, replace := range map[string]func(t *testing.T, object []byte) []byte{
		"another object": func(t *testing.T, object []byte) []byte { b := bytes.Clone(object); b[len(b)/2] ^= 1; return b },
		"another UUID":   func(t *testing.T, object []byte) []byte { return same(t, object, disk, zvhd2.WithUUID([16]byte{1})) },
		"another time": func(t *testing.T, object []byte) []byte {
			return same(t, object, disk, zvhd2.WithTimestamp(time.Unix(1700000000, 0)))
		},
		"another disk size":     func(t *testing.T, object []byte) []byte { return same(t, object, larger) },
		"another set of blocks": func(t *testing.T, object []byte) []byte { return same(t, object, fewer) },
		"no container":          func(t *testing.T, object []byte) []byte { return bytes.Repeat([]byte{1}, len(object)) },
		"a damaged index":       damageIndex,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, dir := imstest.NewServer(t), t.TempDir()
			source := func() quickimport.Source {
				return quickimport.Disk(bytes.NewReader(disk), int64(len(disk)), quickimport.SourceInfo{Identity: "snapshot-7"})
			}
			ctx, d := dying(t, dir, "uploaded", true)
			_, err := cloudClient(t, srv, d.options()[0], d.options()[1]).Import(ctx, source(), dataImage(srv.Bucket()))
			require.ErrorIs(t, err, errDead)
			object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
			require.NoError(t, err)
			other := replace(t, object)
			require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.zvhd2", bytes.NewReader(other)))
			if name == "another object" { // of which the record says nothing
				_, err = cloudClient(t, srv, quickimport.WithStateDir(dir)).Import(t.Context(), source(), dataImage(srv.Bucket()))
				require.ErrorIs(t, err, quickimport.ErrObjectExists)
				return
			}
			believe(t, dir, srv.Objects(srv.Bucket())[0].ETag, len(other))
			_, err = cloudClient(t, srv, quickimport.WithStateDir(dir)).Import(t.Context(), source(), dataImage(srv.Bucket()))
			require.ErrorContains(t, err, "verify: ")
			require.Zero(t, posts(srv))
			require.Empty(t, srv.Images())
		})
	}
}

// believe makes the record of an import one of an object with another checksum
// and size, so that only its structures tell it from what was written.
func believe(t *testing.T, dir, etag string, size int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var rec map[string]any
		require.NoError(t, json.Unmarshal(data, &rec))
		res, ok := rec["result"].(map[string]any)
		if !ok {
			continue
		}
		res["etag"], res["object_bytes"] = strings.Trim(etag, `"`), size
		data, err = json.Marshal(rec)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, data, 0o600))
	}
}

// damageIndex changes bytes of the index, which comes last.
func damageIndex(_ *testing.T, object []byte) []byte {
	b := bytes.Clone(object)
	for i := len(b) - 2*4096; i < len(b)-4096; i++ {
		b[i] ^= 0xff
	}
	return b
}

// A bitmap file that is gone or empty when the upload is checked.
func TestVerificationOfTheBitmapFile(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv, quickimport.WithFormat(quickimport.FormatRaw), quickimport.WithEvents(func(e quickimport.Event) {
		if s, ok := e.(quickimport.PhaseStarted); ok && s.Phase == quickimport.PhaseVerify {
			require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.mf", bytes.NewReader(nil)))
		}
	}))
	_, err := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorIs(t, err, quickimport.ErrProtocol)
	require.ErrorContains(t, err, "bitmap file is empty")
	require.Zero(t, posts(srv))
}

// An object that was replaced between its upload and the check.
func TestVerificationComparesSizeAndChecksum(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"size":     func(b []byte) []byte { return append(b, 0) },
		"checksum": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	} {
		srv := imstest.NewServer(t)
		_, err := cloudClient(t, srv, quickimport.WithEvents(func(e quickimport.Event) {
			if s, ok := e.(quickimport.PhaseStarted); ok && s.Phase == quickimport.PhaseVerify {
				object, err := srv.ReadObject(srv.Bucket(), "demo-1.zvhd2")
				require.NoError(t, err)
				require.NoError(t, srv.PutObject(srv.Bucket(), "demo-1.zvhd2", bytes.NewReader(change(object))))
			}
		})).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.ErrorIs(t, err, quickimport.ErrProtocol, name)
		require.Zero(t, posts(srv))
	}
}
