package quickimport

import (
	"context"
	"os"

	"github.com/fastimage/fastimage/internal/cloud"
)

// Credentials authenticate requests: AccessKey and SecretKey (with
// SecurityToken when they are temporary), or Token for the image service.
// OBS knows no tokens, so Import needs the keys. [WithProjectID] wins over
// ProjectID. No secret is printed, whatever the verb or the encoding.
type Credentials = cloud.Credentials

func checkCredentials(c Credentials) error {
	if c.Token == "" && !c.HasKeys() {
		return ErrNoCredentials
	}
	return nil
}

// A CredentialsProvider returns credentials. What it returns is kept until five
// minutes before it expires, or until the cloud refuses it; then the provider is
// asked again. While what is kept is valid, a provider that fails is retried.
// It must be safe for concurrent use.
type CredentialsProvider = cloud.Provider

// CredentialsFunc is a function as a [CredentialsProvider].
type CredentialsFunc = cloud.CredentialsFunc

// StaticCredentials always returns c.
func StaticCredentials(c Credentials) CredentialsProvider { return cloud.Static(c) }

// EnvCredentials reads HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN and _PROJECT_ID
// (the names of the vendor's SDKs); if either key is missing there,
// HW_ACCESS_KEY, HW_SECRET_KEY, HW_SECURITY_TOKEN and HW_PROJECT_ID (the names
// of Terraform and Packer). The two sets of keys are never mixed.
func EnvCredentials() CredentialsProvider { return LookupCredentials(os.Getenv) }

// LookupCredentials is [EnvCredentials] with another environment: getenv
// returns the value of a variable, "" if it is not set.
func LookupCredentials(getenv func(string) string) CredentialsProvider {
	return CredentialsFunc(func(context.Context) (Credentials, error) {
		c := cloud.FromEnv(getenv)
		return c, checkCredentials(c)
	})
}
