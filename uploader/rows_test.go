package uploader_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/uploader"
)

// rows are the faults of real stores, as imstest.ParseFault reads them. left says
// that the keys do not suffice to remove everything.
var rows = []struct {
	faults string
	left   bool
}{
	{faults: "head-object:403,after=complete-upload:1"},
	{faults: "head-object:404,after=complete-upload:1"},
	{faults: "head-object:503,after=complete-upload:1"},
	{faults: "head-bucket:403:1"},
	{faults: "abort-upload:403:all", left: true},
	{faults: "list-parts:403:all"},
	{faults: "list-uploads:403:all"},
	{faults: "delete-object:403:all", left: true},
	{faults: "put-object:403:all"},
	{faults: "copy-part:411:all"},
	{faults: "copy-part:416:all"},
	{faults: "copy-part:409:all"},
	{faults: "copy-part:500:all"},
	{faults: "copy-part:403:all"},
	{faults: "complete-upload:409,code=OperationAborted:1"},
	{faults: "complete-upload:500-after-accept:1"},
	{faults: "complete-upload:504-after-accept:1"},
	{faults: "complete-upload:reset-after-accept:1"},
	{faults: "complete-upload:drop-after-accept:1"},
	{faults: "complete-upload:weak-etag:1"},
	{faults: "complete-upload:no-etag:1"},
	{faults: "complete-upload:opaque-etag:1"},
	{faults: "create-upload:503:2"},
	{faults: "create-upload:500-after-accept:1", left: true},
	{faults: "upload-part:503:2"},
	{faults: "upload-part:500-after-accept:2"},
	{faults: "upload-part:reset:2"},
	{faults: "upload-part:reset-after-accept:2"},
	{faults: "upload-part:409,code=OperationAborted:1"},
	{faults: "upload-part:upper-etag:all"},
	{faults: "upload-part:503,shape=html:2"},
	{faults: "upload-part:answer-delay=50ms:2"},
}

// TestEveryRow uploads against a store that has one of the faults, with a FASTIMAGE_LONG
// of 1 fifty times and two faults at once. Whatever it is, the object is there and
// right after one run, or two.
func TestEveryRow(t *testing.T) {
	t.Parallel()
	n, both := len(rows), 0
	if long() {
		n, both = 50, 7
	}
	data := noise(9, 11<<20)
	clear(data[5<<20 : 10<<20])
	for i := range n {
		row := rows[i%len(rows)]
		texts := []string{row.faults}
		if both > 0 {
			other := rows[i*both%len(rows)]
			texts, row.left = append(texts, other.faults), row.left || other.left
		}
		t.Run(fmt.Sprint(texts), func(t *testing.T) {
			t.Parallel()
			srv := imstest.NewServer(t)
			for _, text := range texts {
				fault, err := imstest.ParseFault(text)
				require.NoError(t, err)
				srv.Fail(fault)
			}
			uploadThrough(t, srv, data)
			if !row.left {
				require.Empty(t, srv.UnfinishedUploads())
				require.Len(t, srv.Objects(srv.Bucket()), 1)
			}
		})
	}
}

// uploadThrough uploads, once more if the first run fails, and compares the object.
func uploadThrough(t *testing.T, srv *imstest.Server, data []byte) {
	t.Helper()
	store, err := uploader.NewFileStore(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	client, err := uploader.NewClient(uploader.WithEndpoint(srv.OBSEndpoint()), uploader.WithRegion(srv.Region()),
		uploader.WithStaticCredentials(srv.AccessKey(), srv.SecretKey(), srv.SecurityToken()), uploader.WithRetries(10, time.Millisecond, 5*time.Millisecond))
	require.NoError(t, err)
	up, err := uploader.New(client, uploader.WithPartSize(uploader.MinPartSize), uploader.WithStore(store), uploader.WithFingerprint("rows"))
	require.NoError(t, err)
	for range 2 {
		_, err = up.UploadReaderAt(context.Background(), srv.Bucket(), "k", bytes.NewReader(data), int64(len(data)))
		if err == nil {
			break
		}
		t.Logf("first run: %v", err)
	}
	require.NoError(t, err)
	got, err := srv.ReadObject(srv.Bucket(), "k")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
}
