package depcheck_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/fastimage/fastimage"

// apart are the packages that must not know one another, nor what joins them.
var apart = []string{"rawimage", "bitmap", "zvhd2", "uploader"}

// leaves are the helpers that any package may use. They know nothing of the
// module but other leaves.
var leaves = []string{
	"internal/atomicfile", // replacing a file as a whole
	"internal/cloud",      // credentials, transport and retries
	"internal/ctxio",      // reading from sources that know no context
	"internal/fileid",     // whether a file is still the one it was
	"internal/filelock",   // locks that end with the process
	"internal/imageerr",   // the error model of image formats
	"internal/lru",        // the cache
	"internal/magic",      // the table of magic numbers
	"internal/pkgerr",     // errors that carry the name of their package once
	"internal/prefetch",   // reading a disk ahead of an encoder
	"internal/rangeread",  // an io.ReaderAt made of range requests
	"internal/sparse",     // sources that know their holes
}

// imports returns every package of the module that pkg depends on, pkg itself
// left out. Test files are not counted.
func imports(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", module+"/"+pkg)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var own []string
	for p := range strings.Lines(string(out)) {
		p = strings.TrimSpace(p)
		if rest, ok := strings.CutPrefix(p, module+"/"); ok && rest != pkg {
			own = append(own, rest)
		}
	}
	return own
}

func TestPackagesStayApart(t *testing.T) {
	for _, pkg := range apart {
		t.Run(pkg, func(t *testing.T) {
			for _, dep := range imports(t, pkg) {
				// A package may have internals of its own, and use the leaves.
				if strings.HasPrefix(dep, pkg+"/internal/") || slices.Contains(leaves, dep) {
					continue
				}
				require.Fail(t, "forbidden import", "%s depends on %s", pkg, dep)
			}
		})
	}
}

func TestLeavesKnowNothing(t *testing.T) {
	for _, pkg := range leaves {
		require.Subset(t, leaves, imports(t, pkg), pkg)
	}
	require.Subset(t, leaves, imports(t, "internal/imagefmt"))
}

// A reader of a format knows no other, and nothing but what all of them share.
func TestFormatsStayApart(t *testing.T) {
	shared := append([]string{"internal/imagefmt"}, leaves...)
	for _, format := range []string{"qcow2", "vmdk", "vhd", "vhdx", "vdi", "ova"} {
		require.Subset(t, shared, imports(t, "rawimage/"+format), format)
	}
}

// Inference builds on bitmap, which has no need of it.
func TestInferenceStaysAside(t *testing.T) {
	require.NotContains(t, imports(t, "bitmap"), "bitmap/infer")
	require.Subset(t, append([]string{"bitmap", "bitmap/internal/wire"}, leaves...), imports(t, "bitmap/infer"))
}

func TestQuickimportJoinsThem(t *testing.T) {
	deps := imports(t, "quickimport")
	for _, pkg := range apart {
		require.Contains(t, deps, pkg)
	}
	// The test cloud is for tests and the command; the library never pulls
	// it in, so that a program does not carry an S3 server.
	require.NotContains(t, deps, "quickimport/imstest")
}
