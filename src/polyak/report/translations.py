"""The fixed texts of the page, in English and Korean."""

from collections.abc import Callable

from polyak.errors import UsageError

LANGUAGES = ("en", "ko")
# English (the key) -> Korean
KOREAN = {
    "Cross-validated on the training images; the least negative log-likelihood was chosen.": (
        "학습 사진에서 교차 검증한 값입니다. 음의 로그 가능도가 가장 낮은 것을 골랐습니다."
    ),
    "Cross-validated on the training images.": "학습 이미지에서 교차 검증한 값입니다.",
    "Backbones, cheapest first": "백본, 값싼 것부터",
    "Starting weights": "시작 가중치",
    "Change yes and no in the column exclude, then train without the images that say yes. No file "
    "is touched.": (
        "exclude 열의 yes와 no를 고친 뒤, yes인 이미지를 빼고 학습하세요. "
        "원본 파일은 건드리지 않습니다."
    ),
    "the model that says so is right on {} of the images that it did not learn from": (
        "이렇게 판단한 모델은 학습에 쓰지 않은 이미지의 {}에서 맞습니다"
    ),
    "The same image in two classes": "두 클래스에 든 같은 이미지",
    "Labels that are probably wrong": "아마 틀린 라벨",
    "Exact copies": "똑같은 복사본",
    "Images that look the same": "거의 같은 이미지",
    "Tiny images": "아주 작은 이미지",
    "Dark images": "어두운 이미지",
    "Blurred images": "흐린 이미지",
    "Images like no others": "동떨어진 이미지",
    "What may be wrong": "잘못되었을 수 있는 것",
    "issue": "문제",
    "left out by --exclude": "--exclude로 제외",
    "yes": "예",
    "no": "아니요",
    "balanced accuracy": "균형 정확도",
    "macro F1": "매크로 F1",
    "backbone": "백본",
    "licence": "라이선스",
    "milliseconds an image": "이미지 한 장당 밀리초",
    "pixels": "픽셀",
    "probe": "선형 분류기",
    "remembered": "저장된 특징",
    "accuracy": "정확도",
    "after": "온도 보정 후",
    "as it is": "원본",
    "averaged": "가중치 평균",
    "before": "온도 보정 전",
    "calibration error": "보정 오차",
    "choice": "후보",
    "chosen": "선택",
    "class": "클래스",
    "{} classes": "클래스 {}개",
    "{} images": "이미지 {}장",
    "one image": "이미지 한 장",
    "{} images a second": "초당 사진 {}장",
    "{} runs": "실행 {}개 비교",
    "Classes": "클래스별 결과",
    "compared": "비교",
    "Confused": "혼동",
    "Course of the training": "학습 과정",
    "Data": "데이터",
    "epoch": "에폭",
    "file": "파일",
    "finished": "완료",
    "found": "발견",
    "how often": "횟수",
    "how often right": "실제로 맞은 비율",
    "how sure": "확신한 정도",
    "Intervals are 95 %.": "구간은 95 % 신뢰구간입니다.",
    "learning rate": "학습률",
    "left out": "제외",
    "loss": "손실",
    "measured on": "측정한 부분",
    "Mistakes that the model was surest of": "가장 확신하고 틀린 사진",
    "negative log-likelihood": "음의 로그 가능도",
    "no difference that the intervals support": "구간으로 뒷받침되는 차이가 없습니다",
    "not finished": "진행 중",
    "nothing was left out": "제외된 파일이 없습니다",
    "of a run": "전체 학습 대비",
    "of the images": "사진 중 비율",
    "passes": "순전파 횟수",
    "image cannot be read any more": "사진을 더는 읽을 수 없습니다",
    "images": "사진 수",
    "precision": "정밀도",
    "predicted": "예측",
    "Labels worth checking": "확인해 볼 만한 라벨",
    "The model disagrees with them. It is right on {} of these {} held-out images (95 % interval "
    "{} to {}): with a weak model most of them are correct.": (
        "모델의 답과 다른 라벨입니다. 모델은 따로 남겨 둔 이미지 {1}장 가운데 {0}에서 "
        "맞습니다(95 % 신뢰구간 {2}~{3}). 모델이 약하면 이 라벨들은 대부분 옳습니다."
    ),
    "recall": "재현율",
    "Recipe": "레시피",
    "reason": "이유",
    "refused": "제외됨",
    "run": "실행",
    "seconds": "초",
    "seen by the network": "신경망이 본 모습",
    "share of the training": "학습 비중",
    "test": "테스트",
    "oof": "겹마다 남겨 둔 사진",
    "Folds": "겹",
    "mAP": "평균 정밀도 평균(mAP)",
    "mean average precision": "평균 정밀도 평균(mAP)",
    "micro F1": "마이크로 F1",
    "every label right": "레이블이 모두 맞음",
    "Labels": "레이블",
    "label": "레이블",
    "average precision": "평균 정밀도",
    "given from": "붙이는 확률",
    "Labels beside labels": "함께 나타나는 레이블",
    "of the images that have a label, a row, how many are wrongly given another, a column": (
        "행의 레이블이 있는 사진 가운데 열의 레이블이 잘못 붙은 사진 수"
    ),
    "missed": "놓친 레이블",
    "given instead": "대신 붙은 레이블",
    "fold": "겹",
    "mean": "평균",
    "ensemble": "앙상블",
    "soup": "수프",
    "refit": "전체로 다시 맞춤",
    "Every image was predicted by a model that did not see it.": (
        "모든 사진은 그 사진을 보지 않은 모델이 예측했습니다."
    ),
    "What they came to": "최종 모델",
    "passes of a prediction": "예측 한 번에 거치는 신경망 수",
    "The same run again": "같은 실행을 되풀이하는 명령",
    "These images also chose the weights: expect a little less": (
        "이 사진들은 가중치 선택에도 쓰였으므로 실제로는 조금 낮을 수 있습니다"
    ),
    "train": "학습",
    "training": "학습",
    "truth": "정답",
    "val": "검증",
    "validation": "검증",
    "views": "시점",
    "What the network saw": "신경망이 본 것",
    "Ways to end this run": "이 실행의 여러 결과",
    "How far its probabilities can be trusted": "확률을 얼마나 믿을 수 있나",
    "and more": "이 밖에 더",
    "temperature": "온도",
    "machine": "기계",
    "versions": "버전",
    "a row for each true class, a column for each prediction": "행은 정답, 열은 예측",
    "Chosen on validation: the least negative log-likelihood of those within one standard error of "
    "the highest accuracy.": (
        "검증 사진으로 골랐습니다. 정확도가 최고값의 표준오차 하나 안에 드는 것 가운데 음의 로그 "
        "가능도가 가장 낮은 것입니다."
    ),
    "Where the time went": "시간을 쓴 곳",
    "waiting for data": "데이터 대기",
    "computing": "계산",
    "opening, validating, choosing": "열기, 검증, 선택",
    "Meanwhile, on the loader's threads": "그동안 로더 스레드에서",
    "decoding": "디코딩",
    "rendering": "증강과 변환",
    "the worst recall first": "재현율이 낮은 클래스부터",
    "the other classes": "나머지 클래스",
    "Transfer learning: where this data lies": "전이 학습: 이 데이터의 자리",
    "similar to the source": "원본 데이터와 비슷함",
    "different from the source": "원본 데이터와 다름",
    "little data": "적은 데이터",
    "much data": "많은 데이터",
    "a linear classifier on top": "맨 위에 선형 분류기",
    "a linear classifier on all stages": "모든 단계에 선형 분류기",
    "fine-tune the last stage": "마지막 단계 미세 조정",
    "fine-tune the later half": "뒤쪽 절반 미세 조정",
    "a linear classifier on each stage": "단계별 선형 분류기",
    "with more images": "사진이 늘어날 때",
    "images a class": "클래스당 사진 수",
    "strategy": "전략",
    "plan": "계획",
    "Next": "다음",
    "nothing was held out: how good this model is, nobody knows": (
        "따로 남겨 둔 사진이 없어 이 모델이 얼마나 좋은지 알 수 없습니다"
    ),
    "Found by confident learning (Northcutt et al., 2021); look before you correct.": (
        "confident learning(Northcutt 외, 2021)으로 찾았습니다. 고치기 전에 직접 확인하세요."
    ),
    "Dotted lines: a snapshot was taken.": "점선: 스냅숏을 남긴 때.",
    "note": "알림",
}


def speaker(language: str) -> Callable[[str], str]:
    """Give the function from an English text to the text of a language.

    Raises:
        UsageError: there is no such language.

    >>> speaker("ko")("accuracy"), speaker("en")("accuracy")
    ('정확도', 'accuracy')
    """
    if language not in LANGUAGES:
        why = f"choose from {', '.join(LANGUAGES)}"
        raise UsageError("no such language", where=f"--language {language}", why=why)
    return (lambda text: text) if language == "en" else KOREAN.__getitem__
