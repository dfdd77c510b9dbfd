package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/cmd/fastimage/internal/manifest"
)

func TestParse(t *testing.T) {
	t.Parallel()
	entries, err := manifest.Parse([]byte(`
defaults:
  bucket: images
  tags: [team.web]
  overwrite: true
images:
  - source: a.qcow2
    name: a
    min_disk: 40GiB
  - source: b.raw
    name: b
    bucket: other
    tags: []
    image_tags: {k: v}
    overwrite: false
`))
	require.NoError(t, err)
	require.Len(t, entries, 2)
	a, b := entries[0], entries[1]
	require.Equal(t, "a.qcow2", a.Source)
	require.Equal(t, map[string]string{"source": "a.qcow2", "name": "a", "min_disk": "40GiB", "bucket": "images"}, a.Values)
	require.Equal(t, []string{"team.web"}, a.Lists["tags"])
	require.True(t, a.Flags["overwrite"])
	require.True(t, a.Inherited("bucket"))
	require.Equal(t, []int{3, 9, 7}, []int{a.LineOf("bucket"), a.LineOf("min_disk"), a.LineOf("license")})
	require.Equal(t, "other", b.Values["bucket"])
	require.Empty(t, b.Lists["tags"])
	require.Equal(t, []string{"k=v"}, b.Lists["image_tags"])
	require.False(t, b.Flags["overwrite"])
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the file is empty"},
		{"comment", "# nothing\n", "line 1: the file is empty"},
		{"not YAML", "images:\n  - {source: a\n", "line 2: not valid YAML"},
		{"tab", "images:\n\t- source: a\n", "line 2: not valid YAML"},
		{"list", "- a\n", "line 1: want a mapping with the keys defaults and images"},
		{"other key", "image:\n  - source: a\n", `line 1: unknown key "image"`},
		{"no images", "defaults:\n  bucket: b\n", "line 1: no images"},
		{"empty list", "images: []\n", "line 1: images: want a list"},
		{"mapping of images", "images:\n  a: b\n", "line 2: images: want a list"},
		{"text for an image", "images:\n  - a.qcow2\n", "line 2: want an image"},
		{"nothing of an image", "images:\n  - {}\n", "line 2: the image has no source"},
		{"twice", "images:\n  - source: a\n    name: x\n    name: y\n", "line 4: name is given twice, first in line 3"},
		{"flag's name", "images:\n  - source: a\n    name: x\n    os-version: y\n", `line 4: unknown key "os-version"; did you mean os_version?`},
		{"singular", "images:\n  - source: a\n    name: x\n    tag: [y]\n", `line 4: unknown key "tag"; did you mean tags?`},
		{"null", "images:\n  - source: a\n    name:\n", "line 3: name: want text"},
		{"list for text", "images:\n  - source: a\n    name: [x]\n", "line 3: name: want text"},
		{"text for a list", "images:\n  - source: a\n    name: x\n    tags: a.b\n", "line 4: tags: want a list"},
		{"text for a mapping", "images:\n  - source: a\n    name: x\n    image_tags: a\n", "line 4: image_tags: want a mapping"},
		{"text for a boolean", "images:\n  - source: a\n    name: x\n    overwrite: \"true\"\n", "line 4: overwrite: want true or false"},
		{"name as a default", "defaults:\n  name: x\nimages:\n  - source: a\n    name: x\n", "line 2: defaults: name belongs to each image"},
		{"list of defaults", "defaults: [a]\nimages:\n  - source: a\n    name: x\n", "line 1: defaults: want a mapping"},
		{"two documents", "images:\n  - source: a\n    name: x\n---\nimages: []\n", "a second document"},
		{"too large", strings.Repeat("# x\n", manifest.MaxSize/4+1), "larger than"},
		{"alias to itself", "images: &a\n  - *a\n", "want an image"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := manifest.Parse([]byte(c.text))
			e, ok := errors.AsType[*manifest.Error](err)
			require.True(t, ok, "%v", err)
			require.Contains(t, e.Error(), c.want)
		})
	}
}

// All problems are reported, in the order of their lines.
func TestAllProblems(t *testing.T) {
	t.Parallel()
	_, err := manifest.Parse([]byte("images:\n  - name: x\n    tag: y\n  - source: z\n    overwrite: 1\n"))
	e, ok := errors.AsType[*manifest.Error](err)
	require.True(t, ok)
	var lines []int
	for _, p := range e.Problems {
		lines = append(lines, p.Line)
	}
	require.Equal(t, []int{2, 3, 4, 5}, lines)
}

func FuzzParse(f *testing.F) {
	f.Add("images:\n  - {source: a, name: b, tags: [c.d], image_tags: {e: f}, overwrite: true}\n")
	f.Add("defaults: &d {bucket: b}\nimages:\n  - *d\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := manifest.Parse([]byte(text))
		if err == nil && len(entries) == 0 {
			t.Fatal("no images and no problem")
		}
		if e, ok := errors.AsType[*manifest.Error](err); err != nil && (!ok || len(e.Problems) == 0) {
			t.Fatalf("untyped: %v", err)
		}
	})
}
