package realguest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// kept is the directory that disks and observations are kept in, "" for none.
func kept() string { return os.Getenv("FASTIMAGE_GUEST_DISKS") }

// Disk returns the name of the RAW disk of a guest, built unless it is kept.
//
// Where FASTIMAGE_GUEST_DISKS names a directory, disks and observations are kept
// there: a guest is neither built nor started twice, and an examination can be tried
// again on all of them within seconds. The directory is to be emptied when a guest
// changes.
func Disk(t testing.TB, g Guest) string {
	t.Helper()
	if kept() == "" {
		return Build(t, g, t.TempDir())
	}
	disk := filepath.Join(kept(), g.Name+".raw")
	if _, err := os.Stat(disk); err != nil {
		require.NoError(t, os.MkdirAll(kept(), 0o755))
		tmp, err := os.MkdirTemp(kept(), "build-")
		require.NoError(t, err)
		defer func() { _ = os.RemoveAll(tmp) }()
		require.NoError(t, os.Rename(Build(t, g, tmp), disk))
	}
	return disk
}

// Observe starts a guest and returns what became of it, or what became of it when it
// was started before and that was kept.
func Observe(t testing.TB, g Guest, disk string) (seen Observation) {
	t.Helper()
	if kept() == "" {
		return Boot(t, disk, g.StartedBy())
	}
	name := filepath.Join(kept(), g.Name)
	if b, err := os.ReadFile(name + ".json"); err == nil {
		require.NoError(t, json.Unmarshal(b, &seen))
		return seen
	}
	seen = Boot(t, disk, g.StartedBy())
	require.NoError(t, os.WriteFile(name+".console", seen.Console, 0o644))
	b, err := json.Marshal(seen)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name+".json", b, 0o644))
	return seen
}
