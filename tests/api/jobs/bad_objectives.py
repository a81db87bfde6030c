"""Bodies of POST /jobs with an objective that is none, or that does not suit the rest: as `bad_bodies` has them."""

from typing import Any

BAD_OBJECTIVES: list[tuple[Any, str, str]] = [
    (
        {"mode": "train", "config": {"objective": {"soft_weight": 0, "temperature": 2}}},
        "/config",
        "soft_weight above 0",
    ),
    *(
        ({"mode": "train", "config": {"objective": objective}}, "/config" + place, why)
        for objective, place, why in (
            ({"method": "dkt"}, "/objective/method", "'kd', 'dkd', 'dist', 'wttm', 'cross_view', "),
            ({"alpha": 2}, "/objective", "alpha would do nothing here: it acts only with method 'dkd'"),
            ({"method": "dist", "inter": 0, "intra": 0}, "/objective", "nothing is left of dist"),
            ({"method": "wttm", "temperature": 2}, "", "wttm has an exponent instead"),
            ({"soft_weight": 0, "method": "dist"}, "", "method would do nothing here"),
            ({"temperature": [4]}, "/objective/temperature", "at least 2 items"),
            ({"temperature": {"start": 8}}, "/objective/temperature/end", "is missing"),
            ({"soft_weight": {"start": 0, "end": -1}}, "/objective/soft_weight/end", "greater than or equal to 0"),
            ({"soft_weight": {"start": 0, "end": 1, "epochs": 400}}, "", "a ramp of 400 epochs does not come to its"),
            ({"also": [{"method": "dist", "weight": 0}]}, "/objective/also/0", "leave it out"),
            ({"also": [{"method": "dist", "wieght": 1}]}, "/objective/also/0/wieght", "weight"),
            ({"hard_weight": {"start": 0, "end": 0}, "soft_weight": 0}, "/objective", "nothing to learn"),
            ({"method": "rkd", "temperature": 2}, "", "with another method: rkd compares features"),
            ({"also": [{"method": "sp", "temperature": 2}]}, "/objective/also/0", "sp compares features"),
            ({"method": "sp", "standardize": True}, "/objective", "with a method that compares logits"),
            ({"method": "ofa", "temperature": 2}, "", "ofa takes probabilities as they are"),
            ({"method": "sp", "angles": 1}, "/objective", "angles would do nothing here"),
            ({"method": "rkd", "distances": 0, "angles": 0}, "/objective", "nothing is left of rkd"),
            (
                {"within": {"weight": 2}},
                "/objective",
                "within would do nothing here: it acts only with method 'cross_v",
            ),
            ({"preset": "crld"}, "/objective", "preset would do nothing here: it acts only with method 'cross_view'"),
            ({"method": "cross_view", "preset": "crdl"}, "/objective/preset", "'crld' or 'mlkd'"),
            (
                {"method": "cross_view", "within": {"weight": 0}, "cross": {"weight": 0}},
                "/objective",
                "within, cross, batch and classes all have a weight of 0",
            ),
            (
                {"method": "cross_view", "cross": {"weight": 0, "confidence": 0.5}},
                "/objective/cross",
                "confidence would do nothing here: it acts only with a weight above 0",
            ),
        )
    ),
    (
        {"mode": "train", "config": {"objective": {"also": [{"method": "dkd"}]}, "augmentation": {"mixup": 1}}},
        "/config",
        "objective.method dkd needs one label to an image, and augmentation.mixup blends two of them",
    ),
    *(
        ({"mode": mode, "config": {"objective": objective, "augmentation": augmentation}}, "/config", why)
        for mode, objective, augmentation, why in (
            ("train", {"method": "cross_view"}, {"strong": 0}, "augmentation.strong must be above 0"),
            ("guide", {"also": [{"method": "cross_view"}]}, {"strong": 0}, "augmentation.strong must be above 0"),
            ("guide", {"method": "cross_view"}, {"mixup": 0.2}, "augmentation.mixup must be 0"),
            ("train", {"method": "cross_view"}, {"cutmix": 1.0}, "both views of a pair are of one image"),
        )
    ),
    (
        {
            "mode": "train",
            "config": {
                "student": {"arch": "torchvision/squeezenet1_1"},
                "objective": {"also": [{"method": "dist"}, {"method": "rkd"}]},
            },
        },
        "/config",
        "objective.also.1.method rkd compares what the classifiers of student and teacher read, and that of the",
    ),
    (
        {"mode": "train", "config": {"objective": {"method": "ofa"}}},
        "/config",
        "objective.method ofa puts heads on the student's stages, and mlp has none: take a student that has (cnn, ",
    ),
    (
        {
            "mode": "train",
            "config": {
                "student": {"arch": "cnn_small"},
                "objective": {"method": "ofa"},
                "augmentation": {"cutmix": 1},
            },
        },
        "/config",
        "objective.method ofa needs one label to an image, and augmentation.cutmix blends two of them",
    ),
    (
        {
            "mode": "train",
            "config": {"student": {"arch": "cnn_small"}, "objective": {"also": [{"method": "fitnet"}]}},
        },
        "/config",
        "objective.also.0.method fitnet compares maps of stages, which are too large for a label table: use mode",
    ),
    (
        {
            "mode": "train",
            # They have not as many stages either, which comes second.
            "config": {"teacher": {"arch": "cnn"}, "student": {"arch": "vgg8"}, "objective": {"method": "reviewkd"}},
        },
        "/config",
        "objective.method reviewkd compares maps of stages, which are too large for a label table: use mode 'guide'",
    ),
    *(
        (
            {
                "mode": "guide",
                "config": {"teacher": {"arch": teacher}, "student": {"arch": student}, "objective": asked},
            },
            "/config",
            why,
        )
        for teacher, student, asked, why in (
            (
                "cnn",
                "mlp",
                {"method": "at"},
                "at compares maps of stages, and the student, mlp, has none: take another",
            ),
            ("torchvision/vit_b_16", "cnn", {"method": "fitnet"}, "and the teacher, torchvision/vit_b_16, has none"),
            (
                "cnn",
                "cnn_small",
                {"method": "at"},
                "cnn_small has 2 of them, cnn has 3: take two with as many, or fitnet",
            ),
            (
                "cnn",
                "mlp",
                {"method": "reviewkd"},
                "reviewkd compares maps of stages, and the student, mlp, has none: take another",
            ),
            (
                "vgg8",
                "resnet20",
                {"method": "reviewkd"},
                "reviewkd compares stage by stage, and resnet20 has 3 of them, vgg8 has 4: take two with as many",
            ),
            ("cnn", "cnn_small", {"method": "fitnet", "stage": 3}, "compares stage 3, and cnn_small has 2 of them"),
        )
    ),
    (
        {"mode": "guide", "config": {"batch_size": 1024, "objective": {"method": "rkd"}}},
        "/config",
        "at most 256 of them: batch_size 1024 needs a gradient_accumulation of at least 4",
    ),
    (
        {
            "mode": "train",
            "config": {"batch_size": 256, "objective": {"method": "cross_view", "also": [{"method": "rkd"}]}},
        },
        "/config",
        "triples of the views at hand, at most 256 of them: batch_size 256 needs a gradient_accumulation of at least 2",
    ),
    (
        {"mode": "guide", "config": {"objective": {"temperature": [2, 4]}, "rounds": {"teacher": "cotrain"}}},
        "/config",
        "objective.temperature must be one number with rounds.teacher 'cotrain'",
    ),
]
