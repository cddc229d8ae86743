package kube

import (
	"net/http"
	"runtime"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiversion "k8s.io/apimachinery/pkg/version"

	"outrigger.dev/outrigger/internal/devorka/door"
	"outrigger.dev/outrigger/internal/devorka/orkav1"
	"outrigger.dev/outrigger/internal/devorka/store"
)

// version is that of Kubernetes whose API this door follows.
var version = apiversion.Info{
	Major: "1", Minor: "34", GitVersion: "v1.34.0-outrigger-dev-orka", GitTreeState: "clean",
	GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
}

var groups = []string{orkav1.Group, "authorization.k8s.io", "authentication.k8s.io"}

func groupOf(name string) metav1.APIGroup {
	v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/v1", Version: "v1"}
	return metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: name,
		Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v,
	}
}

// discover answers what clients ask before they ask for objects.
func (s *server) discover(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	var v any
	switch path {
	case "/api":
		v = metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case "/apis":
		l := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for _, g := range groups {
			l.Groups = append(l.Groups, groupOf(g))
		}
		v = l
	case "/api/v1":
		v = resources("", "v1")
	case "/apis/" + orkav1.GroupVersion:
		v = resources(orkav1.Group, orkav1.GroupVersion)
	case "/apis/authorization.k8s.io/v1":
		v = reviews("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
	case "/apis/authentication.k8s.io/v1":
		v = reviews("authentication.k8s.io/v1", "selfsubjectreviews", "SelfSubjectReview")
	case "/openapi/v3":
		v = map[string]any{"paths": map[string]any{
			"api/v1":                      map[string]string{"serverRelativeURL": "/openapi/v3/api/v1"},
			"apis/" + orkav1.GroupVersion: map[string]string{"serverRelativeURL": "/openapi/v3/apis/" + orkav1.GroupVersion},
		}}
	case "/openapi/v3/api/v1":
		v = openAPI("", "/api/v1")
	case "/openapi/v3/apis/" + orkav1.GroupVersion:
		v = openAPI(orkav1.Group, "/apis/"+orkav1.GroupVersion)
	default:
		for _, g := range groups {
			if path == "/apis/"+g {
				v = groupOf(g)
			}
		}
	}
	if v == nil {
		return false
	}
	door.JSON(w, http.StatusOK, v)
	return true
}

func resources(group, gv string) metav1.APIResourceList {
	l := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv, APIResources: []metav1.APIResource{}}
	for _, k := range store.Kinds {
		if k.Group != group || k.Hidden {
			continue
		}
		l.APIResources = append(l.APIResources, metav1.APIResource{
			Name: k.Plural, SingularName: k.Singular, Namespaced: k.Namespaced, Kind: k.Kind, ShortNames: k.Short,
			Verbs: metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
		})
		if k.HasStatus {
			l.APIResources = append(l.APIResources, metav1.APIResource{
				Name: k.Plural + "/status", Namespaced: k.Namespaced, Kind: k.Kind, Verbs: metav1.Verbs{"get", "patch", "update"},
			})
		}
		if k == store.ServiceAccounts {
			l.APIResources = append(l.APIResources, metav1.APIResource{
				Name: k.Plural + "/token", Namespaced: true, Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest", Verbs: metav1.Verbs{"create"},
			})
		}
	}
	return l
}

func reviews(gv, plural, kind string) metav1.APIResourceList {
	return metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv,
		APIResources: []metav1.APIResource{{Name: plural, SingularName: strings.TrimSuffix(plural, "s"), Kind: kind, Verbs: metav1.Verbs{"create"}}},
	}
}

// openAPI says as much as kubectl wants to know before it leaves validation to the
// server: that requests take fieldValidation.
func openAPI(group, prefix string) map[string]any {
	paths := map[string]any{}
	for _, k := range store.Kinds {
		if k.Group != group || k.Hidden {
			continue
		}
		path := prefix + "/" + k.Plural + "/{name}"
		if k.Namespaced {
			path = prefix + "/namespaces/{namespace}/" + k.Plural + "/{name}"
		}
		paths[path] = map[string]any{"patch": map[string]any{
			"x-kubernetes-group-version-kind": map[string]string{"group": k.Group, "version": k.Version, "kind": k.Kind},
			"parameters":                      []any{map[string]any{"name": "fieldValidation", "in": "query", "schema": map[string]string{"type": "string"}}},
			"responses":                       map[string]any{"200": map[string]string{"description": "OK"}},
		}}
	}
	return map[string]any{
		"openapi": "3.0.0", "info": map[string]string{"title": "outrigger dev orka", "version": "v1"}, "paths": paths,
	}
}
