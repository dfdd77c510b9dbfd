// Package profile reads credentials and settings from configuration files: that
// of fastimage, and those of obsutil and hcloud. A profile is a set of values
// under the names of the environment variables for which they stand in.
//
// Files are untrusted in their form: what is wrong with one is an *[Error]. No
// error holds a value from a file.
package profile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Conditions that errors of this package match.
var (
	// ErrNotFound means that there is no such profile, or no file with profiles.
	ErrNotFound = errors.New("no such profile")
	// ErrPermissions means that others can read the file.
	ErrPermissions = errors.New("other users of this machine can read the file, which holds secrets")
	// ErrEncrypted means that the keys in the file are not in plain text.
	ErrEncrypted = errors.New("the keys are encrypted")
)

// Error reports what is wrong with a configuration file.
type Error struct {
	File  string
	Names []string // of the profiles in the file, with ErrNotFound
	Err   error
}

// Error implements error.
func (e *Error) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Values are the settings of a profile by the environment variable that each
// stands in for.
type Values map[string]string

const (
	accessKey = "HUAWEICLOUD_SDK_AK"
	secretKey = "HUAWEICLOUD_SDK_SK"
	secToken  = "HUAWEICLOUD_SDK_SECURITY_TOKEN"
)

// IsKey reports whether a variable belongs to a pair of keys.
func IsKey(variable string) bool {
	return slices.Contains([]string{accessKey, secretKey, secToken}, variable)
}

// Load reads a profile: "obsutil", "hcloud" and "hcloud:NAME" from the files of
// these tools below home, any other from fastimage/config.yaml below config.
func Load(name, config, home string) (Values, error) {
	file, read := filepath.Join(config, "fastimage", "config.yaml"), readOwn
	switch tool, rest, _ := strings.Cut(name, ":"); tool {
	case "obsutil":
		file, read = filepath.Join(home, ".obsutilconfig"), readObsutil
	case "hcloud":
		file, read, name = filepath.Join(home, ".hcloud", "config.json"), readHcloud, rest
	}
	data, err := readSecret(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, &Error{File: file, Err: err}
	}
	values, names, err := read(data, name)
	if err != nil {
		return nil, &Error{File: file, Names: names, Err: err}
	}
	maps.DeleteFunc(values, func(_, v string) bool { return v == "" })
	return values, nil
}

// maxFile is far more than any configuration takes.
const maxFile = 1 << 20

// readSecret reads a file that nobody else may read.
func readSecret(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unnamed(err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, unnamed(err)
	case !st.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w (mode %04o)", ErrPermissions, st.Mode().Perm())
	case st.Size() > maxFile:
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return data, unnamed(err)
}

// unnamed leaves out the file's name, which an Error has.
func unnamed(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// own is a profile in the configuration file of fastimage.
type own struct {
	AccessKey         string `yaml:"access_key"`
	SecretKey         string `yaml:"secret_key"`
	SecurityToken     string `yaml:"security_token"`
	ProjectID         string `yaml:"project_id"`
	EnterpriseProject string `yaml:"enterprise_project"`
	Region            string `yaml:"region"`
	Bucket            string `yaml:"bucket"`
	IMS               string `yaml:"ims_endpoint"`
	OBS               string `yaml:"obs_endpoint"`
	IAM               string `yaml:"iam_endpoint"`
}

func readOwn(data []byte, name string) (Values, []string, error) {
	var file struct {
		Profiles map[string]own `yaml:"profiles"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, nil, yamlError(err)
	}
	p, ok := file.Profiles[name]
	if !ok {
		return nil, slices.Sorted(maps.Keys(file.Profiles)), ErrNotFound
	}
	if (p.AccessKey == "") != (p.SecretKey == "") {
		return nil, nil, fmt.Errorf("profile %q has only one of access_key and secret_key", name)
	}
	return Values{
		accessKey: p.AccessKey, secretKey: p.SecretKey, secToken: p.SecurityToken,
		"HUAWEICLOUD_SDK_PROJECT_ID": p.ProjectID, "HW_ENTERPRISE_PROJECT_ID": p.EnterpriseProject,
		"HW_REGION_NAME": p.Region, "FASTIMAGE_BUCKET": p.Bucket,
		"FASTIMAGE_IMS_ENDPOINT": p.IMS, "FASTIMAGE_OBS_ENDPOINT": p.OBS, "FASTIMAGE_IAM_ENDPOINT": p.IAM,
	}, nil, nil
}

var (
	unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type`)
	yamlLine     = regexp.MustCompile(`line (\d+)`)
)

// yamlError says where a file is wrong, without the values that the parser
// quotes: one of them may be a secret.
func yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	if e, ok := errors.AsType[*yaml.TypeError](err); ok {
		var found []string
		for _, text := range e.Errors {
			switch m := unknownField.FindStringSubmatch(text); {
			case m != nil:
				found = append(found, fmt.Sprintf("line %s: unknown key %q", m[1], m[2]))
			default:
				found = append(found, "line "+lineOf(text)+": want text")
			}
		}
		return errors.New(strings.Join(found, "; "))
	}
	return fmt.Errorf("line %s: not valid YAML", lineOf(err.Error()))
}

func lineOf(text string) string {
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "1"
}

// plainKey is what access keys look like; encrypted ones have other characters
// or are much longer.
var plainKey = regexp.MustCompile(`^[0-9A-Za-z]{10,40}$`)

// plain refuses keys that are not in plain text.
func plain(v Values) (Values, []string, error) {
	if v[accessKey] == "" || v[secretKey] == "" {
		return nil, nil, errors.New("it has no keys")
	}
	if !plainKey.MatchString(v[accessKey]) {
		return nil, nil, ErrEncrypted
	}
	return v, nil, nil
}

// readObsutil reads the key=value lines of obsutil.
func readObsutil(data []byte, _ string) (Values, []string, error) {
	read := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(line, "=")
		if ok {
			read[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	v := Values{accessKey: read["ak"], secretKey: read["sk"], secToken: read["token"]}
	if e := read["endpoint"]; e != "" {
		if !strings.Contains(e, "://") {
			e = "https://" + e
		}
		v["FASTIMAGE_OBS_ENDPOINT"] = e
		if u, err := url.Parse(e); err == nil {
			v["HW_REGION_NAME"] = regionOf(u.Hostname())
		}
	}
	return plain(v)
}

// regionOf returns the region in a host name such as obs.cn-north-4.myhuaweicloud.com.
func regionOf(host string) string {
	parts := strings.Split(host, ".")
	if len(parts) > 3 && parts[0] == "obs" {
		return parts[1]
	}
	return ""
}

// readHcloud reads the profile called name, or the current one if it is "".
func readHcloud(data []byte, name string) (Values, []string, error) {
	var file struct {
		Current  string `json:"current"`
		Profiles []struct {
			Name      string `json:"name"`
			AccessKey string `json:"accessKeyId"`
			SecretKey string `json:"secretAccessKey"`
			Token     string `json:"securityToken"`
			Region    string `json:"region"`
			ProjectID string `json:"projectId"`
		} `json:"profiles"`
	}
	if json.Unmarshal(data, &file) != nil { // its text may quote a secret
		return nil, nil, errors.New("not valid JSON, or not a configuration of hcloud")
	}
	if name == "" {
		name = file.Current
	}
	var names []string
	for _, p := range file.Profiles {
		if p.Name == name || name == "" && len(file.Profiles) == 1 {
			return plain(Values{accessKey: p.AccessKey, secretKey: p.SecretKey, secToken: p.Token,
				"HW_REGION_NAME": p.Region, "HUAWEICLOUD_SDK_PROJECT_ID": p.ProjectID})
		}
		names = append(names, "hcloud:"+p.Name)
	}
	return nil, names, ErrNotFound
}
